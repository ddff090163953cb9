#pragma once

// A row in registers to e4m3 (f8_rows.h). A block has one row: a thread holds kVectors pieces of eight columns, `step`
// columns apart, the first at threadIdx.x * 8.

#include <cuda_fp8.h>

#include "kernels/cuda/device.cuh"

namespace glimpse::cuda {

// Eight columns to an address aligned to eight bytes.
__device__ inline void store8(__nv_fp8_e4m3* p, const float (&x)[8]) {
  const __nv_fp8x4_e4m3 low(make_float4(x[0], x[1], x[2], x[3]));
  const __nv_fp8x4_e4m3 high(make_float4(x[4], x[5], x[6], x[7]));
  *reinterpret_cast<uint2*>(p) = make_uint2(low.__x, high.__x);
}

// The largest x >= 0 of a block of up to 1024 threads (a multiple of 32); every thread gets it. The 32 floats of
// scratch may not be used again.
__device__ inline float block_max_once(float x, float* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = static_cast<int>(threadIdx.x % 32) < warps ? scratch[threadIdx.x % 32] : 0.0f;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
  return x;
}

// How a row whose largest magnitude is `most` becomes e4m3: value = e4m3 * unit, e4m3 = value * inverse.
struct F8Scale {
  float unit;
  float inverse;  // 0 where 1 / unit may be infinite, as for a row of zeros
};

__device__ inline F8Scale f8_scale(float most) {
  const float unit = most / 448.0f;  // the largest e4m3
  return {unit, unit >= 0x1p-126f ? 1.0f / unit : 0.0f};
}

// Every thread of the block has read what it will of the row when the first byte is written.
template <int kVectors>
__device__ void store_f8_row(float (&x)[kVectors][8], int cols, int step, float* scratch, __nv_fp8_e4m3* q,
                             float* scale) {
  float most = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (v * step + static_cast<int>(threadIdx.x) * 8 >= cols) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) most = fmaxf(most, fabsf(x[v][i]));
  }
  most = block_max_once(most, scratch);
  const F8Scale f8 = f8_scale(most);
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int c = v * step + static_cast<int>(threadIdx.x) * 8;
    if (c >= cols) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) x[v][i] *= f8.inverse;
    store8(q + c, x[v]);
  }
  if (threadIdx.x == 0) *scale = f8.unit;
}

// How a row of `cols` columns, a multiple of 8, lies in a block: false where it does not fit into registers.
struct RowBlock {
  int threads = 0;
  int vectors = 0;  // 1, 2 or 4
};
inline bool row_block(int64_t cols, RowBlock& out) {
  constexpr int kMaxThreads = 512;
  const int pieces = ceil_div(cols, 8);
  const int needed = ceil_div(pieces, kMaxThreads);
  if (cols % 8 != 0 || needed > 4) return false;
  out.vectors = needed > 2 ? 4 : needed;
  out.threads = ceil_div(ceil_div(pieces, out.vectors), 32) * 32;
  return true;
}

}  // namespace glimpse::cuda
