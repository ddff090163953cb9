#pragma once

// What one warp of the int4 skinny kernel does with a group of 128 columns (matmul_skinny_i4.cu): tiles of 16 rows of W
// against 8 or 16 rows of x.

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda::skinny {

__device__ __forceinline__ uint32_t load_shared_u16(uint32_t address) {
  uint16_t bits;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(address));
  return bits;
}

__device__ __forceinline__ uint32_t load_shared_u8(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(value) : "r"(address));
  return value;
}

// A group of x of all its rows, as the right operands, and what offsets of the weights add to each product.
template <int kCols>
struct XGroup {
  uint32_t b[kCols][4][4];
  float sum[kCols][2];  // of columns 2 t and 2 t + 1

  // `at`: of each eight rows the lane's addresses for ldmatrix in the two spans of 64 columns, whose second halves are
  // 64 bytes on or back (the 128-byte swizzle).
  __device__ __forceinline__ void load(const uint32_t (&at)[kCols][2]) {
    constexpr uint32_t kOnes = 0x3f803f80u;
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int j = 0; j < 4; ++j) ptx::load_matrices(b[c][j], at[c][j / 2] ^ (j % 2 * 64));
    }
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      float part[4][4] = {};  // four short chains
#pragma unroll
      for (int j = 0; j < 4; ++j) ptx::mma_bf16(part[j], kOnes, kOnes, kOnes, kOnes, b[c][j][0], b[c][j][1]);
#pragma unroll
      for (int j = 0; j < 4; ++j) ptx::mma_bf16(part[j], kOnes, kOnes, kOnes, kOnes, b[c][j][2], b[c][j][3]);
#pragma unroll
      for (int i = 0; i < 2; ++i) sum[c][i] = (part[0][i] + part[1][i]) + (part[2][i] + part[3][i]);
    }
  }
};

// A lane's share of a tile's group: 16 bytes of row g and of row g + 8 (of gate and up), and what they mean.
struct TileWords {
  uint4 a[2];
  uint32_t scale[2];

  __device__ __forceinline__ void load(const uint32_t (&values)[2], const uint32_t (&headers)[2]) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      a[h] = ptx::load_shared_16(values[h]);
      scale[h] = load_shared_u16(headers[h]);
    }
  }
};

// A nibble becomes the bf16 value 128 + nibble, which is exact; (128 + zero) times the sum of x is taken off the
// group's sum, and the scale is applied to that, in float32.
template <int kCols>
__device__ __forceinline__ void multiply_tile(float (&acc)[kCols][4], const TileWords& words, const float (&zero)[2],
                                              const XGroup<kCols>& x) {
  float sum[2][kCols][4] = {};  // two: each product waits for every other one only
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[0][c][i] = zero[i / 2] * x.sum[c][i % 2];
  }
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const auto word_of = [j](const uint4& v) { return j == 0 ? v.x : j == 1 ? v.y : j == 2 ? v.z : v.w; };
    const uint32_t word = word_of(words.a[0]);
    const uint32_t word8 = word_of(words.a[1]);
#pragma unroll
    for (int q = 0; q < 4; q += 2) {
      const uint32_t low = ptx::nibbles_plus_128(word, q);
      const uint32_t low8 = ptx::nibbles_plus_128(word8, q);
      const uint32_t high = ptx::nibbles_plus_128(word, q + 1);
      const uint32_t high8 = ptx::nibbles_plus_128(word8, q + 1);
#pragma unroll
      for (int c = 0; c < kCols; ++c) {
        ptx::mma_bf16(sum[q / 2][c], low, low8, high, high8, x.b[c][j][q], x.b[c][j][q + 1]);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const float scale = __half2float(__ushort_as_half(static_cast<uint16_t>(words.scale[h])));
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int i = 2 * h; i < 2 * h + 2; ++i) acc[c][i] += scale * (sum[0][c][i] + sum[1][c][i]);
    }
  }
}

}  // namespace glimpse::cuda::skinny
