#pragma once

// What one warp of the skinny kernel does with a stage of its ring (matmul_skinny.cuh): 64 bytes of each row of W, in
// 16-row tiles, against up to 16 rows of x, for each format of weights.

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/matmul_ptx.cuh"

namespace glimpse::cuda::skinny {

constexpr int kWarps = 8;      // that multiply; four more copy
constexpr int kProducers = 4;  // warps that copy: two cannot issue copies of 512 bytes often enough
constexpr int kThreads = (kWarps + kProducers) * 32;
constexpr int kSpan = 64;               // bytes of a row per warp and chunk
constexpr int kChunk = kWarps * kSpan;  // bytes of a row per stage, without an int4 header
// Rows of W in a stage are this far apart: 64 more than a multiple of 128, so that the eight lanes of a quarter-warp
// (two rows of 64 bytes) read 16-byte words from different banks. Int4 rows lie as in memory, which takes less.
constexpr int kRowPitch = kChunk + 64;

// Where a lane's rows of W lie in a stage: of tile m, half h (of the tile: 8 rows each, or gate and up). Rows that a pass
// lacks read its last one; their sums are not used.
struct LaneRows {
  uint32_t first[2];
  uint32_t last[2];
  uint32_t step;  // from tile to tile
  __device__ __forceinline__ uint32_t at(int m, int h) const { return min(first[h] + m * step, last[h]); }
};

// One warp's share of a stage: 64 bytes of each row of W against the rows of x.
template <int kTiles, int kCols>
__device__ __forceinline__ void multiply_bf16(float (&acc)[kTiles][kCols][4], int tiles, uint32_t w, uint32_t x,
                                              const LaneRows& row, const uint32_t (&x_row)[kCols],
                                              int warp, int lane) {
  const uint32_t at = warp * kSpan + (lane & 3) * 16;
  uint4 b[kCols];
#pragma unroll
  for (int c = 0; c < kCols; ++c) b[c] = ptx::load_shared_16(x + x_row[c] + at);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    if (kTiles > 2 && m >= tiles) break;  // also keeps the compiler from mixing tiles, for which registers lack
    const uint4 a = ptx::load_shared_16(w + row.at(m, 0) + at);
    const uint4 a8 = ptx::load_shared_16(w + row.at(m, 1) + at);
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
      ptx::mma_bf16(acc[m][c], a.x, a8.x, a.y, a8.y, b[c].x, b[c].y);
      ptx::mma_bf16(acc[m][c], a.z, a8.z, a.w, a8.w, b[c].z, b[c].w);
    }
  }
}

// The same for fp8: e4m3 values are halves without rounding; x, which is bf16, is one but for magnitudes above 65,280,
// which are cut there, and below 2^-24.
template <int kTiles, int kCols>
__device__ __forceinline__ void multiply_f8(float (&acc)[kTiles][kCols][4], int tiles, uint32_t w, uint32_t x,
                                            const LaneRows& row, const uint32_t (&x_row)[kCols], int warp,
                                            int lane) {
  const uint32_t at = warp * kSpan + (lane & 3) * 16;
  uint32_t b[kCols][8];
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint4 v = ptx::load_shared_16(x + x_row[c] + 2 * at + half * 16);
      b[c][half * 4 + 0] = ptx::bf16x2_to_f16x2(v.x);
      b[c][half * 4 + 1] = ptx::bf16x2_to_f16x2(v.y);
      b[c][half * 4 + 2] = ptx::bf16x2_to_f16x2(v.z);
      b[c][half * 4 + 3] = ptx::bf16x2_to_f16x2(v.w);
    }
  }
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    if (kTiles > 2 && m >= tiles) break;
    const uint4 a = ptx::load_shared_16(w + row.at(m, 0) + at);
    const uint4 a8 = ptx::load_shared_16(w + row.at(m, 1) + at);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t word = j == 0 ? a.x : j == 1 ? a.y : j == 2 ? a.z : a.w;
      const uint32_t word8 = j == 0 ? a8.x : j == 1 ? a8.y : j == 2 ? a8.z : a8.w;
      const uint32_t low = ptx::f8x2_to_f16x2(word);
      const uint32_t low8 = ptx::f8x2_to_f16x2(word8);
      const uint32_t high = ptx::f8x2_to_f16x2(word >> 16);
      const uint32_t high8 = ptx::f8x2_to_f16x2(word8 >> 16);
#pragma unroll
      for (int c = 0; c < kCols; ++c) ptx::mma_f16(acc[m][c], low, low8, high, high8, b[c][2 * j], b[c][2 * j + 1]);
    }
  }
}

__device__ __forceinline__ float load_shared_half(uint32_t address) {
  uint16_t bits;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(address));
  return __half2float(__ushort_as_half(bits));
}

__device__ __forceinline__ uint32_t load_shared_byte(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared.u8 %0, [%1];" : "=r"(value) : "r"(address));
  return value;
}

// The same for int4: the warp's span is group `warp` of the chunk. A nibble becomes the bf16 value 128 + nibble, which
// is exact; (128 + zero) times the sum of x, which the tensor cores give as well, is taken off the group's sum, and the
// scale is applied to that, in float32: seven integer instructions a word and nothing else.
template <int kTiles, int kCols>
__device__ __forceinline__ void multiply_group(float (&acc)[kTiles][kCols][4], int tiles, uint32_t w, uint32_t x,
                                               const LaneRows& row, const uint32_t (&x_row)[kCols],
                                               int warp, int lane, bool zero_points) {
  constexpr uint32_t kOnes = 0x3f803f80u;
  uint32_t b[kCols][4][4];
  float x_sum[kCols][2];
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
    float sum[4] = {};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      ptx::load_matrices(b[c][j], x + x_row[c] + warp * 256 + j * 64);
      ptx::mma_bf16(sum, kOnes, kOnes, kOnes, kOnes, b[c][j][0], b[c][j][1]);
      ptx::mma_bf16(sum, kOnes, kOnes, kOnes, kOnes, b[c][j][2], b[c][j][3]);
    }
    x_sum[c][0] = sum[0];
    x_sum[c][1] = sum[1];
  }
  const uint32_t at = (zero_points ? 32 : 16) + warp * kSpan + (lane & 3) * 16;
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    if (kTiles > 2 && m >= tiles) break;
    float zero[2] = {-136.0f, -136.0f};
    float scale[2];
    uint4 a[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint32_t address = w + row.at(m, h);
      a[h] = ptx::load_shared_16(address + at);
      scale[h] = load_shared_half(address + warp * 2);
      if (zero_points) zero[h] = -128.0f - static_cast<float>(load_shared_byte(address + 16 + warp));
    }
    float sum[2][kCols][4] = {};  // two: each product waits for every other one only
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) sum[0][c][i] = zero[i / 2] * x_sum[c][i % 2];
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t word = j == 0 ? a[0].x : j == 1 ? a[0].y : j == 2 ? a[0].z : a[0].w;
      const uint32_t word8 = j == 0 ? a[1].x : j == 1 ? a[1].y : j == 2 ? a[1].z : a[1].w;
#pragma unroll
      for (int q = 0; q < 4; q += 2) {
        const uint32_t low = ptx::nibbles_plus_128(word, q);
        const uint32_t low8 = ptx::nibbles_plus_128(word8, q);
        const uint32_t high = ptx::nibbles_plus_128(word, q + 1);
        const uint32_t high8 = ptx::nibbles_plus_128(word8, q + 1);
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
          ptx::mma_bf16(sum[q / 2][c], low, low8, high, high8, b[c][j][q], b[c][j][q + 1]);
        }
      }
    }
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float total = sum[0][c][i] + sum[1][c][i];
        acc[m][c][i] += scale[i / 2] * total;
      }
    }
  }
}

}  // namespace glimpse::cuda::skinny
