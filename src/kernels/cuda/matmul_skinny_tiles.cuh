#pragma once

// What one warp of the skinny kernel does with a stage of its ring (matmul_skinny.cuh): 64 bytes of each row of W, in
// 16-row tiles, against up to 16 rows of x, for each format of weights.

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda::skinny {

constexpr int kWarps = 8;      // that multiply; four more copy
constexpr int kProducers = 4;  // warps that copy: two cannot issue copies of 512 bytes often enough
constexpr int kThreads = (kWarps + kProducers) * 32;
constexpr int kSpan = 64;               // bytes of a row per warp and chunk
constexpr int kChunk = kWarps * kSpan;  // bytes of a row per stage
// Rows of W in a stage are this far apart: 64 more than a multiple of 128, so that the eight lanes of a quarter-warp
// (two rows of 64 bytes) read 16-byte words from different banks.
constexpr int kRowPitch = kChunk + 64;

// Where a lane's rows of W lie in a stage: of tile m, half h (of the tile: 8 rows each, or gate and up). Rows that a
// pass lacks read its last one; their sums are not used.
struct LaneRows {
  uint32_t first[2];
  uint32_t last[2];
  uint32_t step;  // from tile to tile
  __device__ __forceinline__ uint32_t at(int m, int h) const { return min(first[h] + m * step, last[h]); }
};

// One warp's share of a stage: 64 bytes of each row of W against the rows of x, of which `x_row` is this lane's.
template <int kTiles, int kCols>
__device__ __forceinline__ void multiply_bf16(float (&acc)[kTiles][kCols][4], int tiles, uint32_t w, uint32_t x,
                                              const LaneRows& row, const uint32_t (&x_row)[kCols], int warp, int lane) {
  const uint32_t at = warp * kSpan + (lane & 3) * 16;
  uint4 b[kCols];
#pragma unroll
  for (int c = 0; c < kCols; ++c) b[c] = ptx::load_shared_16(x + x_row[c]);
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

// The same for fp8: e4m3 values are halves without rounding; x, which is bf16, is one but for magnitudes above 65,504,
// which are cut there, and below 2^-24. A tile's words are loaded while the tile before is multiplied: what a warp does
// here is a chain of latencies.
template <int kTiles, int kCols>
__device__ __forceinline__ void multiply_f8(float (&acc)[kTiles][kCols][4], int tiles, uint32_t w, uint32_t x,
                                            const LaneRows& row, const uint32_t (&x_row)[kCols], int warp, int lane) {
  const uint32_t at = warp * kSpan + (lane & 3) * 16;
  uint32_t b[kCols][8];
#pragma unroll
  for (int c = 0; c < kCols; ++c) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint4 v = ptx::load_shared_16(x + x_row[c] + half * 16);
      b[c][half * 4 + 0] = ptx::bf16x2_to_f16x2(v.x);
      b[c][half * 4 + 1] = ptx::bf16x2_to_f16x2(v.y);
      b[c][half * 4 + 2] = ptx::bf16x2_to_f16x2(v.z);
      b[c][half * 4 + 3] = ptx::bf16x2_to_f16x2(v.w);
    }
  }
  uint4 next[2];
#pragma unroll
  for (int h = 0; h < 2; ++h) next[h] = ptx::load_shared_16(w + row.at(0, h) + at);
#pragma unroll
  for (int m = 0; m < kTiles; ++m) {
    if (kTiles > 2 && m >= tiles) break;
    const uint4 a = next[0];
    const uint4 a8 = next[1];
    if (m + 1 < kTiles) {
#pragma unroll
      for (int h = 0; h < 2; ++h) next[h] = ptx::load_shared_16(w + row.at(m + 1, h) + at);
    }
    float odd[kCols][4] = {};  // two sums: each product waits for every other one only
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint32_t word = j == 0 ? a.x : j == 1 ? a.y : j == 2 ? a.z : a.w;
      const uint32_t word8 = j == 0 ? a8.x : j == 1 ? a8.y : j == 2 ? a8.z : a8.w;
      const uint32_t low = ptx::f8x2_to_f16x2(word);
      const uint32_t low8 = ptx::f8x2_to_f16x2(word8);
      const uint32_t high = ptx::f8x2_to_f16x2(word >> 16);
      const uint32_t high8 = ptx::f8x2_to_f16x2(word8 >> 16);
#pragma unroll
      for (int c = 0; c < kCols; ++c) {
        ptx::mma_f16(j % 2 == 0 ? acc[m][c] : odd[c], low, low8, high, high8, b[c][2 * j], b[c][2 * j + 1]);
      }
    }
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int i = 0; i < 4; ++i) acc[m][c][i] += odd[c][i];
    }
  }
}

}  // namespace glimpse::cuda::skinny
