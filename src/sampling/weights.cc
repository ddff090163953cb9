#include "sampling/weights.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

#include "base/check.h"

// One body, compiled for each of these; the loader picks. Sanitizers cannot instrument what runs before they are up.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define GLIMPSE_VECTOR_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GLIMPSE_VECTOR_CLONES
#endif

namespace glimpse {

namespace {

constexpr size_t kLanes = 16;
constexpr float kNever = -std::numeric_limits<float>::infinity();

// Lane-wise maxima of a block; NaN compares false, so it never gets in.
GLIMPSE_VECTOR_CLONES
void block_maximum(const float* values, float* lanes) {
  float best[kLanes];
  for (size_t j = 0; j < kLanes; ++j) best[j] = kNever;
  for (size_t i = 0; i < kWeightBlock; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) best[j] = values[i + j] > best[j] ? values[i + j] : best[j];
  }
  for (size_t j = 0; j < kLanes; ++j) lanes[j] = best[j];
}

// e^x = 2^k 2^f with k whole and |f| <= 1/2; 2^f by its Taylor polynomial of degree 6, whose remainder is below
// 1.3e-8. x in [kNegligibleLogit, 0].
GLIMPSE_VECTOR_CLONES
void weigh_block(float* __restrict values, float top, float temperature, float floor, float* __restrict weights,
                 float* __restrict sums) {
  float total[kLanes];
  for (size_t j = 0; j < kLanes; ++j) total[j] = 0;
  for (size_t i = 0; i < kWeightBlock; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float scaled = (values[i + j] - top) / temperature;
      values[i + j] = scaled;
      const float x = scaled >= kNegligibleLogit ? scaled : kNegligibleLogit;
      const float t = x * 1.44269504f;
      constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no bits for a fraction
      const float k = (t + kRound) - kRound;
      const float f = (t - k) * 0.693147181f;
      float power = 1.0f / 720;
      power = power * f + 1.0f / 120;
      power = power * f + 1.0f / 24;
      power = power * f + 1.0f / 6;
      power = power * f + 0.5f;
      power = power * f + 1.0f;
      power = power * f + 1.0f;
      const float exact = std::bit_cast<float>(std::bit_cast<int32_t>(power) + static_cast<int32_t>(k) * (1 << 23));
      const float weight = scaled >= kNegligibleLogit && exact >= floor ? exact : 0.0f;
      weights[i + j] = weight;
      total[j] += weight;
    }
  }
  for (size_t j = 0; j < kLanes; ++j) sums[j] = total[j];
}

}  // namespace

int32_t argmax(std::span<const float> values) {
  // Blocks first: a plain maximum becomes vector code, a search for its place does not.
  float best = kNever;
  size_t best_block = 0;
  size_t begin = 0;
  std::array<float, kLanes> lanes;
  for (; begin + kWeightBlock <= values.size(); begin += kWeightBlock) {
    block_maximum(values.data() + begin, lanes.data());
    const float largest = *std::max_element(lanes.begin(), lanes.end());
    if (largest > best) {
      best = largest;
      best_block = begin;
    }
  }
  for (; begin < values.size(); ++begin) {
    if (values[begin] > best) {
      best = values[begin];
      best_block = begin;
    }
  }
  for (size_t i = best_block; i < values.size(); ++i) {
    if (values[i] == best) return static_cast<int32_t>(i);
  }
  return 0;
}

void weigh(std::span<float> values, float top, float temperature, float floor, std::span<float> weights,
           std::span<double> sums) {
  CHECK(values.size() % kWeightBlock == 0 && weights.size() == values.size(), values.size(), weights.size());
  CHECK(sums.size() == values.size() / kWeightBlock, sums.size());
  std::array<float, kLanes> lanes;
  for (size_t block = 0; block < sums.size(); ++block) {
    weigh_block(values.data() + block * kWeightBlock, top, temperature, floor, weights.data() + block * kWeightBlock,
                lanes.data());
    double sum = 0;
    for (const float lane : lanes) sum += double{lane};
    sums[block] = sum;
  }
}

}  // namespace glimpse
