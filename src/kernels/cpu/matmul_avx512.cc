#include <immintrin.h>

#include "kernels/cpu/matmul_kernels.h"

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
  // The two bfloat16 of a word are widened and multiplied one after the other, the even column first.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    const I mask = set1_int(static_cast<int32_t>(0xffff0000u));
    acc = fma(as_float(_mm512_slli_epi32(w, 16)), as_float(_mm512_slli_epi32(x, 16)), acc);
    return fma(as_float(_mm512_and_si512(w, mask)), as_float(_mm512_and_si512(x, mask)), acc);
  }
  // As in matmul_avx2.cc; there is no vpsignb here.
  GLIMPSE_INLINE I start_i8(int32_t) { return zero_int(); }
  GLIMPSE_INLINE I dot_i8(I acc, I w, I x) {
    const I weight = _mm512_xor_si512(w, _mm512_set1_epi8(-128));
    const I signed_weight = _mm512_mask_sub_epi8(weight, _mm512_movepi8_mask(x), _mm512_setzero_si512(), weight);
    const I pairs = _mm512_maddubs_epi16(_mm512_abs_epi8(x), signed_weight);
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
  }
  GLIMPSE_INLINE I dot_u4(I acc, I w, I x) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(w, x), _mm512_set1_epi16(1)));
  }
  GLIMPSE_INLINE I dot_u4_at(I acc, I w, const std::byte* x) { return dot_u4(acc, w, broadcast(x)); }
};

#include "kernels/cpu/matmul_tiles.h"

#include "kernels/cpu/matmul_finish.h"

}  // namespace

const MatmulKernels& matmul_kernels_avx512() {
  static constexpr MatmulKernels kKernels = {
      .tile_f32 = {float_tile<DotF32, 1>, float_tile<DotF32, 2>, float_tile<DotF32, 3>, float_tile<DotF32, 4>,
                   float_tile<DotF32, 5>, float_tile<DotF32, 6>},
      .tile_bf16 = {float_tile<DotBf16, 1>, float_tile<DotBf16, 2>, float_tile<DotBf16, 3>, float_tile<DotBf16, 4>,
                    float_tile<DotBf16, 5>, float_tile<DotBf16, 6>},
      .tile_i8 = {int_tile<IntKind::kI8, 1>, int_tile<IntKind::kI8, 2>, int_tile<IntKind::kI8, 3>,
                  int_tile<IntKind::kI8, 4>, int_tile<IntKind::kI8, 5>, int_tile<IntKind::kI8, 6>},
      .tile_i4 = {int_tile<IntKind::kI4, 1>, int_tile<IntKind::kI4, 2>, int_tile<IntKind::kI4, 3>,
                  int_tile<IntKind::kI4, 4>, int_tile<IntKind::kI4, 5>, int_tile<IntKind::kI4, 6>},
      .finish = finish,
      .store_bf16 = store_bf16,
      .quantize_row = quantize_row,
  };
  return kKernels;
}

}  // namespace glimpse::cpu

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
