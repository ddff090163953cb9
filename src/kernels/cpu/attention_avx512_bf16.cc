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

#include "kernels/cpu/isa_avx512_bf16.h"

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
