// g++ 12 takes the undefined upper lanes inside its own AVX-512 intrinsics for uninitialised variables.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "image/resize_kernels.h"

// AVX-512 (F, BW, VL): the AVX2 passes at twice the width. Functions carry their target so that the rest of the program
// stays runnable on any x86-64.
#define GLIMPSE_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl")))
#define GLIMPSE_AVX512_INLINE __attribute__((target("avx512f,avx512bw,avx512vl"), always_inline)) inline

namespace glimpse {

namespace {

GLIMPSE_AVX512_INLINE __m128i load_bytes(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

GLIMPSE_AVX512_INLINE __m512i weight_pair(const int16_t* w) {
  int32_t pair;
  std::memcpy(&pair, w, sizeof pair);
  return _mm512_set1_epi32(pair);
}

template <bool kSplit>
GLIMPSE_AVX512_INLINE __m512i finish(__m512i low, __m512i high, __m512i round, __m128i shift) {
  if constexpr (kSplit) low = _mm512_add_epi32(low, _mm512_slli_epi32(high, ResampleAxis::kSplitBits));
  return _mm512_sra_epi32(_mm512_add_epi32(low, round), shift);
}

GLIMPSE_AVX512_INLINE __m512i load_four_rows(const uint8_t* r0, const uint8_t* r1, const uint8_t* r2,
                                             const uint8_t* r3) {
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(r0)), load_bytes(r1), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load_bytes(r2)), load_bytes(r3), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// Four rows at a time, one per 128-bit quarter; see resize_avx2.cc for the arrangement inside a quarter.
template <bool kSplit>
GLIMPSE_AVX512 void horizontal(const PassArgs& args, int begin, int end) {
  const ResampleAxis& axis = args.axis;
  const __m512i first_pair =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m512i second_pair =
      _mm512_broadcast_i32x4(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const __m512i round = _mm512_set1_epi32(1 << (axis.shift - 1));
  const __m128i shift = _mm_cvtsi32_si128(axis.shift);
  for (int y = begin; y < end; y += 4) {
    // Rows past the end are the last one again: computed and written twice.
    const int y1 = std::min(y + 1, end - 1);
    const int y2 = std::min(y + 2, end - 1);
    const int y3 = std::min(y + 3, end - 1);
    const uint8_t* src0 = args.src + y * args.src_stride;
    const uint8_t* src1 = args.src + y1 * args.src_stride;
    const uint8_t* src2 = args.src + y2 * args.src_stride;
    const uint8_t* src3 = args.src + y3 * args.src_stride;
    uint8_t* dst0 = args.dst + y * args.dst_stride;
    uint8_t* dst1 = args.dst + y1 * args.dst_stride;
    uint8_t* dst2 = args.dst + y2 * args.dst_stride;
    uint8_t* dst3 = args.dst + y3 * args.dst_stride;
    const int16_t* weights = axis.weights.data();
    const int16_t* high = axis.high.data();
    for (int x = 0; x < axis.out; ++x, weights += axis.max_taps) {
      const ptrdiff_t window = ptrdiff_t{3} * axis.first[static_cast<size_t>(x)];
      const int taps = axis.count[static_cast<size_t>(x)];
      __m512i sum_a = _mm512_setzero_si512();
      __m512i sum_b = _mm512_setzero_si512();
      __m512i high_sum = _mm512_setzero_si512();
      for (int j = 0; j < taps; j += 4) {
        const ptrdiff_t at = window + 3 * j;
        const __m512i bytes = load_four_rows(src0 + at, src1 + at, src2 + at, src3 + at);
        const __m512i a = _mm512_shuffle_epi8(bytes, first_pair);
        const __m512i b = _mm512_shuffle_epi8(bytes, second_pair);
        sum_a = _mm512_add_epi32(sum_a, _mm512_madd_epi16(a, weight_pair(weights + j)));
        sum_b = _mm512_add_epi32(sum_b, _mm512_madd_epi16(b, weight_pair(weights + j + 2)));
        if constexpr (kSplit) {
          high_sum = _mm512_add_epi32(high_sum, _mm512_madd_epi16(a, weight_pair(high + j)));
          high_sum = _mm512_add_epi32(high_sum, _mm512_madd_epi16(b, weight_pair(high + j + 2)));
        }
      }
      if constexpr (kSplit) high += axis.max_taps;
      const __m512i sum = finish<kSplit>(_mm512_add_epi32(sum_a, sum_b), high_sum, round, shift);
      const __m128i bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(sum, _mm512_setzero_si512()));
      const int pixel0 = _mm_cvtsi128_si32(bytes);
      const int pixel1 = _mm_extract_epi32(bytes, 1);
      const int pixel2 = _mm_extract_epi32(bytes, 2);
      const int pixel3 = _mm_extract_epi32(bytes, 3);
      // Four bytes per store, the fourth overwritten by the next pixel; the last pixel has no next one in its row.
      if (x + 1 < axis.out) [[likely]] {
        std::memcpy(dst0 + 3 * x, &pixel0, 4);
        std::memcpy(dst1 + 3 * x, &pixel1, 4);
        std::memcpy(dst2 + 3 * x, &pixel2, 4);
        std::memcpy(dst3 + 3 * x, &pixel3, 4);
      } else {
        std::memcpy(dst0 + 3 * x, &pixel0, 3);
        std::memcpy(dst1 + 3 * x, &pixel1, 3);
        std::memcpy(dst2 + 3 * x, &pixel2, 3);
        std::memcpy(dst3 + 3 * x, &pixel3, 3);
      }
    }
  }
}

// Thirty-two columns of one output row; `columns` masks the loads and the store of the last block.
template <bool kSplit>
GLIMPSE_AVX512_INLINE void column_block(const PassArgs& args, const uint8_t* src, uint8_t* dst, __mmask32 columns,
                                        int taps, const int16_t* weights, const int16_t* high) {
  __m512i low0 = _mm512_setzero_si512();
  __m512i low1 = low0;
  __m512i high0 = low0;
  __m512i high1 = low0;
  for (int j = 0; j < taps; j += 2) {
    // Past the window the weight is zero; the row is read again only to stay inside the picture.
    const uint8_t* next = j + 1 < taps ? src + args.src_stride : src;
    const __m512i a = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(columns, src));
    const __m512i b = _mm512_cvtepu8_epi16(_mm256_maskz_loadu_epi8(columns, next));
    const __m512i pairs0 = _mm512_unpacklo_epi16(a, b);
    const __m512i pairs1 = _mm512_unpackhi_epi16(a, b);
    low0 = _mm512_add_epi32(low0, _mm512_madd_epi16(pairs0, weight_pair(weights + j)));
    low1 = _mm512_add_epi32(low1, _mm512_madd_epi16(pairs1, weight_pair(weights + j)));
    if constexpr (kSplit) {
      high0 = _mm512_add_epi32(high0, _mm512_madd_epi16(pairs0, weight_pair(high + j)));
      high1 = _mm512_add_epi32(high1, _mm512_madd_epi16(pairs1, weight_pair(high + j)));
    }
    src += 2 * args.src_stride;
  }
  const __m512i round = _mm512_set1_epi32(1 << (args.axis.shift - 1));
  const __m128i shift = _mm_cvtsi32_si128(args.axis.shift);
  const __m512i words =
      _mm512_packs_epi32(finish<kSplit>(low0, high0, round, shift), finish<kSplit>(low1, high1, round, shift));
  const __m256i bytes = _mm512_cvtusepi16_epi8(_mm512_max_epi16(words, _mm512_setzero_si512()));
  _mm256_mask_storeu_epi8(dst, columns, bytes);
}

template <bool kSplit>
GLIMPSE_AVX512 void vertical(const PassArgs& args, int row_bytes, int begin, int end) {
  const ResampleAxis& axis = args.axis;
  for (int y = begin; y < end; ++y) {
    const uint8_t* src = args.src + axis.first[static_cast<size_t>(y)] * args.src_stride;
    uint8_t* dst = args.dst + y * args.dst_stride;
    const int taps = axis.count[static_cast<size_t>(y)];
    const size_t table = static_cast<size_t>(y) * static_cast<size_t>(axis.max_taps);
    const int16_t* weights = axis.weights.data() + table;
    const int16_t* high = kSplit ? axis.high.data() + table : nullptr;
    for (int x = 0; x < row_bytes; x += 32) {
      const int rest = row_bytes - x;
      const __mmask32 columns = rest >= 32 ? ~__mmask32{0} : (__mmask32{1} << rest) - 1;
      column_block<kSplit>(args, src + x, dst + x, columns, taps, weights, high);
    }
  }
}

}  // namespace

void horizontal_avx512(const PassArgs& args, int begin, int end) {
  args.axis.is_split() ? horizontal<true>(args, begin, end) : horizontal<false>(args, begin, end);
}

void vertical_avx512(const PassArgs& args, int row_bytes, int begin, int end) {
  args.axis.is_split() ? vertical<true>(args, row_bytes, begin, end) : vertical<false>(args, row_bytes, begin, end);
}

}  // namespace glimpse
