#include <immintrin.h>

#include "kernels/cpu/matmul_kernels.h"

#ifdef __clang__
#pragma clang attribute push(                                                                          \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni,avx512bf16"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,avx512vnni,avx512bf16")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_avx512.h"

struct Simd : Simd512 {
  // As assembly: g++ 12 spills the accumulators of a 6 x 4 tile in every step when these are intrinsics.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
  }
  GLIMPSE_INLINE I start_i8(int32_t sum) { return set1_int(-128 * sum); }
  GLIMPSE_INLINE I dot_i8(I acc, I w, I x) {
    asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
  }
  GLIMPSE_INLINE I dot_u4(I acc, I w, I x) { return dot_i8(acc, w, x); }
  // The word of x broadcast by the instruction itself: a tile of 6 rows has no registers left for it.
  GLIMPSE_INLINE I dot_u4_at(I acc, I w, const std::byte* x) {
    asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc) : "v"(w), "m"(*reinterpret_cast<const std::byte(*)[4]>(x)));
    return acc;
  }
};

#include "kernels/cpu/matmul_tiles.h"

#include "kernels/cpu/matmul_streams.h"

#include "kernels/cpu/matmul_finish.h"

}  // namespace

const MatmulKernels& matmul_kernels_avx512_bf16() {
  static constexpr MatmulKernels kKernels = {
      .tile_f32 = {float_tile<DotF32, 1>, float_tile<DotF32, 2>, float_tile<DotF32, 3>, float_tile<DotF32, 4>,
                   float_tile<DotF32, 5>, float_tile<DotF32, 6>},
      .tile_bf16 = {float_tile<DotBf16, 1>, float_tile<DotBf16, 2>, float_tile<DotBf16, 3>, float_tile<DotBf16, 4>,
                    float_tile<DotBf16, 5>, float_tile<DotBf16, 6>},
      .tile_i8 = {int_tile<IntKind::kI8, 1>, int_tile<IntKind::kI8, 2>, int_tile<IntKind::kI8, 3>,
                  int_tile<IntKind::kI8, 4>, int_tile<IntKind::kI8, 5>, int_tile<IntKind::kI8, 6>},
      .tile_i4 = {int_tile<IntKind::kI4, 1>, int_tile<IntKind::kI4, 2>, int_tile<IntKind::kI4, 3>,
                  int_tile<IntKind::kI4, 4>, int_tile<IntKind::kI4, 5>, int_tile<IntKind::kI4, 6>},
      .streams_bf16 = {float_streams<DotBf16, 1>, float_streams<DotBf16, 2>, float_streams<DotBf16, 3>,
                       float_streams<DotBf16, 4>, float_streams<DotBf16, 5>, float_streams<DotBf16, 6>},
      .streams_i8 = {int_streams<IntKind::kI8, 1>, int_streams<IntKind::kI8, 2>, int_streams<IntKind::kI8, 3>,
                     int_streams<IntKind::kI8, 4>, int_streams<IntKind::kI8, 5>, int_streams<IntKind::kI8, 6>},
      .streams_i4 = {int_streams<IntKind::kI4, 1>, int_streams<IntKind::kI4, 2>, int_streams<IntKind::kI4, 3>,
                     int_streams<IntKind::kI4, 4>, int_streams<IntKind::kI4, 5>, int_streams<IntKind::kI4, 6>},
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
