#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "kernels/cpu/attention_kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_avx2.h"

struct Simd : Simd256 {
  GLIMPSE_INLINE F fms(F a, F b, F c) { return _mm256_fmsub_ps(a, b, c); }
  // The first `count` lanes of x, the others from `rest`.
  GLIMPSE_INLINE F first_lanes(F x, int count, F rest) {
    const I lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_blendv_ps(rest, x, as_float(_mm256_cmpgt_epi32(set1_int(count), lane)));
  }
  // The two bfloat16 of a word are widened and multiplied one after the other.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    const I high = set1_int(static_cast<int32_t>(0xffff0000u));
    acc = fma(as_float(_mm256_slli_epi32(w, 16)), as_float(_mm256_slli_epi32(x, 16)), acc);
    return fma(as_float(_mm256_and_si256(w, high)), as_float(_mm256_and_si256(x, high)), acc);
  }
  GLIMPSE_INLINE void round_bf16(bf16* p, F x) { store_bf16(p, x); }
};

#include "kernels/cpu/attention_tiles.h"

}  // namespace

const AttentionKernels& attention_kernels_avx2(DType dtype) {
  return dtype == DType::kF32 ? kF32Kernels : kBf16Kernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
