#include "weights/dummy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <thread>

namespace glimpse {
namespace {

std::vector<bf16> read_all(const DummySource& source, const TensorSpec& spec) {
  const auto tensor = source.get(spec);
  EXPECT_TRUE(tensor);
  std::vector<bf16> out(static_cast<size_t>(tensor->num_rows() * tensor->row_size()));
  EXPECT_TRUE(tensor->read_rows(0, tensor->num_rows(), out));
  return out;
}

TEST(Dummy, IsTheSameHoweverItIsRead) {
  const TensorSpec spec{"w.weight", {13, 77}};  // odd rows, so that pairs straddle them
  const DummySource source({spec}, 1);
  const std::vector<bf16> all = read_all(source, spec);
  const auto tensor = *source.get(spec);
  EXPECT_TRUE(tensor.bytes().empty());
  for (int64_t first = 0; first < 13; ++first) {
    for (int64_t count = 0; count <= 13 - first; ++count) {
      std::vector<bf16> rows(static_cast<size_t>(count * 77));
      std::vector<float> wide(rows.size());
      ASSERT_TRUE(tensor.read_rows(first, count, rows));
      ASSERT_TRUE(tensor.read_rows(first, count, wide));
      for (size_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(rows[i].bits, all[static_cast<size_t>(first * 77) + i].bits) << first << " " << count << " " << i;
        ASSERT_EQ(wide[i], to_float(rows[i]));
      }
    }
  }
}

// The bits are part of the contract: figures measured with dummy weights on two machines are of the same model. The
// hashes come from the same formulas written in NumPy, so they check the vectorised loops too.
TEST(Dummy, HasTheseBitsOnEveryMachine) {
  const TensorSpec matrix{"w.weight", {10001}};
  const TensorSpec norm{"norm.weight", {10001}};
  const DummySource source({matrix, norm}, 1);
  const auto hash_of = [&](const TensorSpec& spec) {
    uint64_t hash = 0xcbf29ce484222325U;
    for (const bf16 value : read_all(source, spec)) hash = (hash ^ value.bits) * 0x100000001b3U;
    return hash;
  };
  EXPECT_EQ(hash_of(matrix), 0x0330ef762e15a141U);
  EXPECT_EQ(hash_of(norm), 0x3cbb70693b22e958U);
}

TEST(Dummy, DependsOnSeedAndName) {
  const TensorSpec a{"a.weight", {64, 64}};
  const TensorSpec b{"b.weight", {64, 64}};
  const DummySource one({a, b}, 1);
  const DummySource two({a, b}, 2);
  const auto differs = [](const std::vector<bf16>& x, const std::vector<bf16>& y) {
    size_t count = 0;
    for (size_t i = 0; i < x.size(); ++i) count += x[i].bits != y[i].bits;
    return count > x.size() * 9 / 10;
  };
  EXPECT_TRUE(differs(read_all(one, a), read_all(one, b)));
  EXPECT_TRUE(differs(read_all(one, a), read_all(two, a)));
}

TEST(Dummy, HasTheStatedSpreadAndNoTwoRowsAlike) {
  const TensorSpec matrix{"layers.0.q_proj.weight", {512, 1024}};
  const TensorSpec norm{"layers.0.input_layernorm.weight", {4096}};
  const TensorSpec bias{"merger.post_projection_norm.bias", {4096}};
  const DummySource source({matrix, norm, bias}, 3);
  const auto moments = [&](const TensorSpec& spec) {
    double sum = 0;
    double squares = 0;
    const auto values = read_all(source, spec);
    for (const bf16 value : values) {
      sum += to_float(value);
      squares += static_cast<double>(to_float(value)) * to_float(value);
    }
    const double n = static_cast<double>(values.size());
    return std::pair(sum / n, std::sqrt(squares / n - sum / n * (sum / n)));
  };
  // 524,288 samples: the mean's deviation is 3e-5, the spread's 1e-3 of itself; the limits are five times that.
  EXPECT_NEAR(moments(matrix).first, 0, 1.4e-4);
  EXPECT_NEAR(moments(matrix).second, DummySource::kStd, 0.005 * DummySource::kStd);
  EXPECT_NEAR(moments(norm).first, 1, 2.1e-3);
  EXPECT_NEAR(moments(norm).second, 0.0255, 2e-3);
  EXPECT_NEAR(moments(bias).first, 0, 1.6e-3);
  const auto values = read_all(source, matrix);
  std::set<std::vector<uint16_t>> rows;
  for (size_t r = 0; r < 512; ++r) {
    std::vector<uint16_t> row(1024);
    for (size_t c = 0; c < row.size(); ++c) row[c] = values[r * row.size() + c].bits;
    rows.insert(row);
  }
  EXPECT_EQ(rows.size(), 512U);
}

// Positions beyond 2^33 elements change the key instead of wrapping around.
TEST(Dummy, DoesNotRepeatBeyondThirtyTwoBits) {
  const TensorSpec spec{"huge.weight", {int64_t{1} << 20, int64_t{1} << 15}};
  const DummySource source({spec}, 1);
  const auto tensor = *source.get(spec);
  constexpr int64_t kRow = int64_t{1} << 15;
  constexpr int64_t kWrapRow = (int64_t{1} << 33) / kRow;
  std::vector<bf16> start(kRow);
  std::vector<bf16> wrapped(2 * kRow);
  ASSERT_TRUE(tensor.read_rows(0, 1, start));
  ASSERT_TRUE(tensor.read_rows(kWrapRow - 1, 2, wrapped));
  size_t equal = 0;
  for (size_t i = 0; i < kRow; ++i) equal += start[i].bits == wrapped[kRow + i].bits;
  EXPECT_LT(equal, start.size() / 50);
}

}  // namespace
}  // namespace glimpse
