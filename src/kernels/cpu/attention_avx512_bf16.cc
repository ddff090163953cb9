#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <utility>

#include "kernels/cpu/attention_kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512bf16")
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
  // As assembly: g++ 12 spills the accumulators when this is an intrinsic.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
  }
  GLIMPSE_INLINE void round_bf16(bf16* p, F x) {
    const auto rounded = _mm512_cvtneps_pbh(x);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<const __m256i&>(rounded));
  }
};

#include "kernels/cpu/attention_tiles.h"

}  // namespace

const AttentionKernels& attention_kernels_avx512_bf16(DType dtype) {
  return dtype == DType::kF32 ? kF32Kernels : kBf16Kernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
