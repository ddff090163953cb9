#include "sampling/weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace glimpse {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Weights, ArgmaxTakesTheFirstOfEquals) {
  for (const size_t size : {1u, 15u, 255u, 256u, 257u, 1000u}) {
    for (size_t place = 0; place < size; place += 1 + size / 50) {
      std::vector<float> values(size, -3);
      values[place] = 2;
      values[size - 1] = 2;
      EXPECT_EQ(argmax(values), static_cast<int32_t>(place)) << size;
      values[0] = NAN;
      if (place != 0) {
        EXPECT_EQ(argmax(values), static_cast<int32_t>(place)) << size;
      }
    }
  }
  EXPECT_EQ(argmax(std::vector<float>(300, -kInfinity)), 0);
  EXPECT_EQ(argmax(std::vector<float>(300, NAN)), 0);
  EXPECT_EQ(argmax(std::vector<float>{1, kInfinity, 3}), 1);
}

TEST(Weights, AreTheExponentials) {
  std::vector<float> values;
  for (int i = -40 * 256; i <= 0; ++i) values.push_back(static_cast<float>(i) / 256);
  values.resize(padded_to_block(values.size() + 2), -kInfinity);
  values[7] = NAN;
  std::vector<float> scaled = values;
  for (float& x : scaled) x = x * 2 + 5;
  std::vector<float> weights(values.size());
  std::vector<double> sums(values.size() / kWeightBlock);
  weigh(scaled, 5, 2, 0, weights, sums);
  double worst = 0;
  double total = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    total += double{weights[i]};
    if (!(values[i] >= kNegligibleLogit)) {
      EXPECT_EQ(weights[i], 0) << values[i];
      continue;
    }
    worst = std::max(worst, std::fabs(double{weights[i]} / std::exp(double{values[i]}) - 1));
  }
  // 46 is the largest exponent: x * log2(e) in float is off by up to 46 * 2^-24 * log(2) or 1.9e-6 of the result.
  EXPECT_LT(worst, 2.5e-6);
  EXPECT_EQ(weights[40 * 256], 1.0f);
  double summed = 0;
  for (const double sum : sums) summed += sum;
  EXPECT_NEAR(summed / total, 1, 1e-6) << "sixteen float sums a block";
  weigh(values, 0, 1, 0.5f, weights, sums);
  for (const float weight : weights) EXPECT_TRUE(weight == 0 || weight >= 0.5f);
}

}  // namespace
}  // namespace glimpse
