// Quantises and interleaves sixteen rows at a time, one row a lane. Plain loops over lanes that the compiler turns into
// AVX2; the same code on every processor, so that packed weights are the same everywhere.

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/cpu/pack.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace glimpse::cpu {

namespace {

constexpr int kLanes = kStripRows;
constexpr int kMaxGroup = 128;
constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to the nearest even integer

#define FOR_LANES(l) for (int l = 0; l < kLanes; ++l)  // NOLINT(bugprone-macro-parentheses): l is a name

// x[k][l] = column first + k of row l; zeros beyond `count` rows and `cols` columns, up to `padded`.
void transpose(const float* rows, int64_t count, int64_t cols, int64_t first, int64_t padded, float (*x)[kLanes]) {
  const int64_t valid = std::min(padded, cols - first);
  for (int64_t l = 0; l < kLanes; ++l) {
    const float* row = rows + l * cols + first;
    const int64_t n = l < count ? valid : 0;
    for (int64_t k = 0; k < n; ++k) x[k][l] = row[k];
    for (int64_t k = n; k < padded; ++k) x[k][l] = 0;
  }
}

void store_words(std::byte* dst, const uint32_t (&words)[kLanes]) {
  std::memcpy(dst, words, sizeof(words));
}

// One scale for each row: max|w| / 127.
void pack_i8(const float* rows, int64_t count, int64_t cols, std::byte* dst, float* scales) {
  float inverse[kLanes] = {};
  for (int64_t l = 0; l < count; ++l) {
    float max = 0;
    for (int64_t k = 0; k < cols; ++k) max = std::max(max, std::fabs(rows[l * cols + k]));
    const float factor = max > 0 ? 127.0f / max : 0.0f;
    const bool usable = factor <= 3.40282347e38f;
    inverse[l] = usable ? factor : 0.0f;
    scales[l] = usable && factor > 0 ? max / 127.0f : 0.0f;
  }
  float x[kMaxGroup][kLanes];
  for (int64_t first = 0; first < cols; first += kMaxGroup) {
    const int64_t padded = std::min<int64_t>(kMaxGroup, (cols - first + 3) / 4 * 4);
    transpose(rows, count, cols, first, padded, x);
    for (int64_t k = 0; k < padded; k += 4, dst += 4 * kPanelRows) {
      uint32_t words[kLanes] = {};
      for (int64_t j = 0; j < 4; ++j) {
        const uint32_t keep = first + k + j < cols ? 0xffu : 0u;
        FOR_LANES(l) {
          const float q = std::min(std::max((x[k + j][l] * inverse[l] + kMagic) - kMagic, -127.0f), 127.0f);
          words[l] |= (static_cast<uint32_t>(static_cast<int32_t>(q) + 128) & keep) << (8 * j);
        }
      }
      store_words(dst, words);
    }
  }
}

// The scales of one group of columns, one for each row. Each candidate maps the value of largest magnitude, with its
// sign, to -d for a d around 8 (so scales may be negative, and the ninth value of one side is used where it helps); the
// values are rounded, and for rounded values q the best scale is sum(x q) / sum(q^2), with the error
// sum(x^2) - sum(x q)^2 / sum(q^2). The candidate with the least error wins.
constexpr float kCandidates[] = {8.5f, 8.2f, 7.9f, 7.6f, 7.3f, 7.0f, 6.7f, 6.4f, 6.0f, 5.6f};

// sum(x q) and sum(q^2) over the columns for eight rows, q = x * inverse rounded into [-8, 7]. With intrinsics: as a
// loop over lanes g++ 12 keeps the sums in memory, several times slower.
void sum_products(const float (*x)[kLanes], int64_t count, int half, const float* inverse, float* xq, float* qq) {
  const __m256 factor = _mm256_loadu_ps(inverse);
  __m256 sum_xq = _mm256_setzero_ps();
  __m256 sum_qq = _mm256_setzero_ps();
  for (int64_t k = 0; k < count; ++k) {
    const __m256 value = _mm256_loadu_ps(x[k] + half);
    __m256 q = _mm256_round_ps(_mm256_mul_ps(value, factor), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    q = _mm256_min_ps(_mm256_max_ps(q, _mm256_set1_ps(-8.0f)), _mm256_set1_ps(7.0f));
    sum_xq = _mm256_fmadd_ps(value, q, sum_xq);
    sum_qq = _mm256_fmadd_ps(q, q, sum_qq);
  }
  _mm256_storeu_ps(xq, sum_xq);
  _mm256_storeu_ps(qq, sum_qq);
}

void search_scales(const float (*x)[kLanes], int64_t count, float (&scales)[kLanes]) {
  float low[kLanes] = {};
  float high[kLanes] = {};
  for (int64_t k = 0; k < count; ++k) {
    FOR_LANES(l) {
      low[l] = std::min(low[l], x[k][l]);
      high[l] = std::max(high[l], x[k][l]);
    }
  }
  float extreme[kLanes];
  FOR_LANES(l) extreme[l] = high[l] > -low[l] ? high[l] : low[l];
  float best[kLanes] = {};
  FOR_LANES(l) scales[l] = 0;
  for (const float candidate : kCandidates) {
    float inverse[kLanes];
    FOR_LANES(l) inverse[l] = extreme[l] != 0 ? -candidate / extreme[l] : 0.0f;
    float xq[kLanes];
    float qq[kLanes];
    for (int half = 0; half < kLanes; half += 8) sum_products(x, count, half, inverse + half, xq + half, qq + half);
    FOR_LANES(l) {
      const float gain = qq[l] > 0 ? xq[l] / qq[l] * xq[l] : 0.0f;  // what the error is smaller than sum(x^2)
      const bool better = gain > best[l];
      best[l] = better ? gain : best[l];
      scales[l] = better ? xq[l] / qq[l] : scales[l];
    }
  }
}

void pack_i4(const float* rows, int64_t count, int64_t cols, int32_t group, int64_t lane, std::byte* panel) {
  float x[kMaxGroup][kLanes];
  for (int64_t first = 0; first < cols; first += group) {
    const int64_t valid = std::min<int64_t>(group, cols - first);
    const int64_t padded = (valid + 7) / 8 * 8;
    transpose(rows, count, cols, first, padded, x);
    float scales[kLanes];
    search_scales(x, valid, scales);
    f16 stored[kLanes];
    float inverse[kLanes];
    FOR_LANES(l) {
      stored[l] = to_f16(std::clamp(scales[l], -65504.0f, 65504.0f));
      const float scale = to_float(stored[l]);
      inverse[l] = scale != 0 ? 1.0f / scale : 0.0f;
    }
    std::memcpy(panel + lane * sizeof(f16), stored, sizeof(stored));
    panel += kPanelRows * sizeof(f16);
    for (int64_t k = 0; k < padded; k += 8, panel += 4 * kPanelRows) {
      uint32_t words[kLanes] = {};
      for (int64_t j = 0; j < 8; ++j) {
        const uint32_t keep = k + j < valid ? 15u : 0u;
        const int shift = static_cast<int>(j < 4 ? 8 * j : 8 * (j - 4) + 4);
        FOR_LANES(l) {
          const float q = std::min(std::max((x[k + j][l] * inverse[l] + kMagic) - kMagic, -8.0f), 7.0f);
          words[l] |= (static_cast<uint32_t>(static_cast<int32_t>(q) + 8) & keep) << shift;
        }
      }
      store_words(panel + lane * 4, words);
    }
  }
}

void pack_bf16(const float* rows, int64_t count, int64_t cols, std::byte* dst) {
  float x[kMaxGroup][kLanes];
  for (int64_t first = 0; first < cols; first += kMaxGroup) {
    const int64_t padded = std::min<int64_t>(kMaxGroup, (cols - first + 1) / 2 * 2);
    transpose(rows, count, cols, first, padded, x);
    for (int64_t k = 0; k < padded; k += 2, dst += 4 * kPanelRows) {
      uint32_t words[kLanes];
      FOR_LANES(l) words[l] = to_bf16(x[k][l]).bits | static_cast<uint32_t>(to_bf16(x[k + 1][l]).bits) << 16;
      store_words(dst, words);
    }
  }
}

void pack_f32(const float* rows, int64_t count, int64_t cols, std::byte* dst) {
  float x[kMaxGroup][kLanes];
  for (int64_t first = 0; first < cols; first += kMaxGroup) {
    const int64_t padded = std::min<int64_t>(kMaxGroup, cols - first);
    transpose(rows, count, cols, first, padded, x);
    for (int64_t k = 0; k < padded; ++k, dst += 4 * kPanelRows) std::memcpy(dst, x[k], sizeof(x[k]));
  }
}

}  // namespace

void pack_strip(const float* rows, int64_t count, int64_t cols, WeightFormat format, int32_t group, int64_t lane,
                std::byte* panel, float* scales) {
  switch (format) {
    case WeightFormat::kF32:
      return pack_f32(rows, count, cols, panel + lane * 4);
    case WeightFormat::kBF16:
      return pack_bf16(rows, count, cols, panel + lane * 4);
    case WeightFormat::kI8:
      return pack_i8(rows, count, cols, panel + lane * 4, scales);
    case WeightFormat::kI4:
      return pack_i4(rows, count, cols, group, lane, panel);
    case WeightFormat::kF8:
      break;
  }
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
