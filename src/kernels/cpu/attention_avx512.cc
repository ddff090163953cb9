#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "kernels/cpu/attention_kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_avx512.h"

struct Simd : Simd512 {
  GLIMPSE_INLINE F fms(F a, F b, F c) { return _mm512_fmsub_ps(a, b, c); }
  // The first `count` lanes of x, the others from `rest`.
  GLIMPSE_INLINE F first_lanes(F x, int count, F rest) {
    return _mm512_mask_blend_ps(static_cast<__mmask16>((1u << count) - 1), rest, x);
  }
  // The two bfloat16 of a word are widened and multiplied one after the other.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    const I high = set1_int(static_cast<int32_t>(0xffff0000u));
    acc = fma(as_float(_mm512_slli_epi32(w, 16)), as_float(_mm512_slli_epi32(x, 16)), acc);
    return fma(as_float(_mm512_and_si512(w, high)), as_float(_mm512_and_si512(x, high)), acc);
  }
  GLIMPSE_INLINE void round_bf16(bf16* p, F x) { store_bf16(p, x); }
};

#include "kernels/cpu/attention_tiles.h"

}  // namespace

const AttentionKernels& attention_kernels_avx512(DType dtype) {
  return dtype == DType::kF32 ? kF32Kernels : kBf16Kernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
