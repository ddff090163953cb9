#include <immintrin.h>

#include "kernels/cpu/matmul_kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif

namespace glimpse::cpu {

namespace {

#include "kernels/cpu/isa_avx2.h"

constexpr uint32_t kHighHalf = 0xffff0000u;
alignas(32) constexpr uint32_t kOddColumns[8] = {kHighHalf, kHighHalf, kHighHalf, kHighHalf,
                                                 kHighHalf, kHighHalf, kHighHalf, kHighHalf};

struct Simd : Simd256 {
  // The two bfloat16 of a word are widened and multiplied one after the other, the even column first.
  GLIMPSE_INLINE F dot_bf16(F acc, I w, I x) {
    const I mask = set1_int(static_cast<int32_t>(0xffff0000u));
    acc = fma(as_float(_mm256_slli_epi32(w, 16)), as_float(_mm256_slli_epi32(x, 16)), acc);
    return fma(as_float(_mm256_and_si256(w, mask)), as_float(_mm256_and_si256(x, mask)), acc);
  }
  // The even or the odd columns of words as float32: of a vector of weights, and of one word of x in all lanes. As
  // assembly, in this order, the mask in memory: left to itself g++ 12 spills a sum of the 6 x 2 tile, which then waits
  // for memory in every step.
  template <bool kOdd>
  GLIMPSE_INLINE F load_half(const std::byte* w) {
    F out;
    const auto& words = *reinterpret_cast<const std::byte(*)[32]>(w);
    if constexpr (kOdd) {
      asm volatile("vmovdqu %1, %0\n\tvpand %2, %0, %0" : "=&x"(out) : "m"(words), "m"(kOddColumns));
    } else {
      asm volatile("vmovdqu %1, %0\n\tvpslld $16, %0, %0" : "=x"(out) : "m"(words));
    }
    return out;
  }
  template <bool kOdd>
  GLIMPSE_INLINE F broadcast_half(const std::byte* x) {
    F out;
    const auto& word = *reinterpret_cast<const std::byte(*)[4]>(x);
    if constexpr (kOdd) {
      asm volatile("vpbroadcastd %1, %0\n\tvpand %2, %0, %0" : "=&x"(out) : "m"(word), "m"(kOddColumns));
    } else {
      asm volatile("vpbroadcastd %1, %0\n\tvpslld $16, %0, %0" : "=x"(out) : "m"(word));
    }
    return out;
  }
  GLIMPSE_INLINE F add_product(F acc, F w, F x) {
    asm volatile("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(w), "x"(x));
    return acc;
  }
  // vpmaddubsw saturates at 16 bits. With |x| as its unsigned operand and the sign of x moved to the weight, a pair is
  // at most 2 * 127 * 127 = 32258 and never does; so weights lose their offset first, and need no correction by sums.
  GLIMPSE_INLINE I start_i8(int32_t) { return zero_int(); }
  GLIMPSE_INLINE I dot_i8(I acc, I w, I x) {
    const I weight = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
    const I pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(weight, x));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  GLIMPSE_INLINE I dot_u4(I acc, I w, I x) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1)));
  }
  GLIMPSE_INLINE I dot_u4_at(I acc, I w, const std::byte* x) { return dot_u4(acc, w, broadcast(x)); }
};

#include "kernels/cpu/matmul_tiles.h"

#include "kernels/cpu/matmul_finish.h"

}  // namespace

const MatmulKernels& matmul_kernels_avx2() {
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
