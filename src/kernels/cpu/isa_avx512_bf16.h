// Text for a .cc file, as isa_avx512.h: attention's instructions where AVX512-BF16 is there.

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
