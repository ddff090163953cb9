#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "image/resize_kernels.h"

// AVX2: 16-bit multiply-add of pixel pairs with weight pairs. Functions carry their target so that the rest of the
// program stays runnable on any x86-64.
#define GLIMPSE_AVX2 __attribute__((target("avx2")))
#define GLIMPSE_AVX2_INLINE __attribute__((target("avx2"), always_inline)) inline

namespace glimpse {

namespace {

GLIMPSE_AVX2_INLINE __m128i load_bytes(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// Two neighbouring 16-bit weights in every 32-bit lane.
GLIMPSE_AVX2_INLINE __m256i weight_pair(const int16_t* w) {
  int32_t pair;
  std::memcpy(&pair, w, sizeof pair);
  return _mm256_set1_epi32(pair);
}

template <bool kSplit>
GLIMPSE_AVX2_INLINE __m256i finish(__m256i low, __m256i high, __m256i round, __m128i shift) {
  if constexpr (kSplit) low = _mm256_add_epi32(low, _mm256_slli_epi32(high, ResampleAxis::kSplitBits));
  return _mm256_sra_epi32(_mm256_add_epi32(low, round), shift);
}

// Two rows at a time, one per 128-bit half. Four pixels (12 bytes of a 16-byte load) become two vectors of 16-bit
// pairs, r0 r1 g0 g1 b0 b1 0 0, so that each multiply-add yields the r, g, b sums of two taps.
template <bool kSplit>
GLIMPSE_AVX2 void horizontal(const PassArgs& args, int begin, int end) {
  const ResampleAxis& axis = args.axis;
  const __m256i first_pair =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i second_pair =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const __m256i round = _mm256_set1_epi32(1 << (axis.shift - 1));
  const __m128i shift = _mm_cvtsi32_si128(axis.shift);
  for (int y = begin; y < end; y += 2) {
    // An odd last row is its own partner: it is computed and written twice.
    const int partner = std::min(y + 1, end - 1);
    const uint8_t* src0 = args.src + y * args.src_stride;
    const uint8_t* src1 = args.src + partner * args.src_stride;
    uint8_t* dst0 = args.dst + y * args.dst_stride;
    uint8_t* dst1 = args.dst + partner * args.dst_stride;
    const int16_t* weights = axis.weights.data();
    const int16_t* high = axis.high.data();
    for (int x = 0; x < axis.out; ++x, weights += axis.max_taps) {
      const ptrdiff_t window = ptrdiff_t{3} * axis.first[static_cast<size_t>(x)];
      const int taps = axis.count[static_cast<size_t>(x)];
      __m256i sum_a = _mm256_setzero_si256();
      __m256i sum_b = _mm256_setzero_si256();
      __m256i high_sum = _mm256_setzero_si256();
      for (int j = 0; j < taps; j += 4) {
        const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(src0 + window + 3 * j)),
                                                      load_bytes(src1 + window + 3 * j), 1);
        const __m256i a = _mm256_shuffle_epi8(bytes, first_pair);
        const __m256i b = _mm256_shuffle_epi8(bytes, second_pair);
        sum_a = _mm256_add_epi32(sum_a, _mm256_madd_epi16(a, weight_pair(weights + j)));
        sum_b = _mm256_add_epi32(sum_b, _mm256_madd_epi16(b, weight_pair(weights + j + 2)));
        if constexpr (kSplit) {
          high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(a, weight_pair(high + j)));
          high_sum = _mm256_add_epi32(high_sum, _mm256_madd_epi16(b, weight_pair(high + j + 2)));
        }
      }
      if constexpr (kSplit) high += axis.max_taps;
      const __m256i sum = finish<kSplit>(_mm256_add_epi32(sum_a, sum_b), high_sum, round, shift);
      const __m256i words = _mm256_packs_epi32(sum, sum);
      const __m256i bytes = _mm256_packus_epi16(words, words);
      const int pixel0 = _mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
      const int pixel1 = _mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
      // Four bytes per store, the fourth overwritten by the next pixel; the last pixel has no next one in its row.
      const size_t size = x + 1 < axis.out ? 4 : 3;
      std::memcpy(dst0 + 3 * x, &pixel0, size);
      std::memcpy(dst1 + 3 * x, &pixel1, size);
    }
  }
}

// Sixteen columns at a time. Unpacking two rows to 16-bit pairs and packing the sums back permute the same way within
// each 128-bit half, so the columns end in order.
template <bool kSplit>
GLIMPSE_AVX2_INLINE void column_block(const PassArgs& args, const uint8_t* src, uint8_t* dst, int taps,
                                      const int16_t* weights, const int16_t* high) {
  __m256i low0 = _mm256_setzero_si256();
  __m256i low1 = low0;
  __m256i high0 = low0;
  __m256i high1 = low0;
  for (int j = 0; j < taps; j += 2) {
    // Past the window the weight is zero; the row is read again only to stay inside the picture.
    const uint8_t* next = j + 1 < taps ? src + args.src_stride : src;
    const __m256i a = _mm256_cvtepu8_epi16(load_bytes(src));
    const __m256i b = _mm256_cvtepu8_epi16(load_bytes(next));
    const __m256i pairs0 = _mm256_unpacklo_epi16(a, b);
    const __m256i pairs1 = _mm256_unpackhi_epi16(a, b);
    low0 = _mm256_add_epi32(low0, _mm256_madd_epi16(pairs0, weight_pair(weights + j)));
    low1 = _mm256_add_epi32(low1, _mm256_madd_epi16(pairs1, weight_pair(weights + j)));
    if constexpr (kSplit) {
      high0 = _mm256_add_epi32(high0, _mm256_madd_epi16(pairs0, weight_pair(high + j)));
      high1 = _mm256_add_epi32(high1, _mm256_madd_epi16(pairs1, weight_pair(high + j)));
    }
    src += 2 * args.src_stride;
  }
  const __m256i round = _mm256_set1_epi32(1 << (args.axis.shift - 1));
  const __m128i shift = _mm_cvtsi32_si128(args.axis.shift);
  const __m256i words =
      _mm256_packs_epi32(finish<kSplit>(low0, high0, round, shift), finish<kSplit>(low1, high1, round, shift));
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(dst), bytes);
}

template <bool kSplit>
GLIMPSE_AVX2 void vertical(const PassArgs& args, int row_bytes, int begin, int end) {
  const ResampleAxis& axis = args.axis;
  for (int y = begin; y < end; ++y) {
    const uint8_t* src = args.src + axis.first[static_cast<size_t>(y)] * args.src_stride;
    uint8_t* dst = args.dst + y * args.dst_stride;
    const int taps = axis.count[static_cast<size_t>(y)];
    const size_t table = static_cast<size_t>(y) * static_cast<size_t>(axis.max_taps);
    const int16_t* weights = axis.weights.data() + table;
    const int16_t* high = kSplit ? axis.high.data() + table : nullptr;
    int x = 0;
    for (; x + 16 <= row_bytes; x += 16) column_block<kSplit>(args, src + x, dst + x, taps, weights, high);
    // The last columns once more as a full block; a row shorter than a block is left to the scalar pass (see below).
    if (x < row_bytes) column_block<kSplit>(args, src + row_bytes - 16, dst + row_bytes - 16, taps, weights, high);
  }
}

}  // namespace

void horizontal_avx2(const PassArgs& args, int begin, int end) {
  args.axis.is_split() ? horizontal<true>(args, begin, end) : horizontal<false>(args, begin, end);
}

void vertical_avx2(const PassArgs& args, int row_bytes, int begin, int end) {
  if (row_bytes < 16) {
    vertical_scalar(args, row_bytes, begin, end);
  } else if (args.axis.is_split()) {
    vertical<true>(args, row_bytes, begin, end);
  } else {
    vertical<false>(args, row_bytes, begin, end);
  }
}

}  // namespace glimpse
