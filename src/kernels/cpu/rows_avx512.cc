#include <immintrin.h>

#include "kernels/cpu/row_kernels.h"

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
  GLIMPSE_INLINE F load_bf16(const bf16* p) {
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
  }
};

#include "kernels/cpu/row_kernels_text.h"

}  // namespace

const RowKernels& row_kernels_avx512() {
  return kRowKernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
