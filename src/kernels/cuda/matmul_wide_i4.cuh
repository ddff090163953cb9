#pragma once

// What the int4 products through wgmma share (matmul_wide_i4.cu, matmul_batch_i4.cu): W widened in registers, and what
// becomes of the sums.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda::wide_i4 {

// A place in a ring of `kStages`, and the parity of the round.
template <int kStages>
struct Turn {
  int stage = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// A lane's share of a group: 16 bytes of each of its two rows, and what they mean.
struct Words {
  uint4 q[2];
  uint32_t zero[2];   // 128 + zero, twice, as bf16
  uint32_t scale[2];  // twice, as bf16

  // Row `h`, whose 16 bytes and header lie there in shared memory; `group` counts in its chunk.
  __device__ __forceinline__ void load(int h, uint32_t values, uint32_t header, int group, bool zero_points) {
    q[h] = ptx::load_shared_16(values);
    uint16_t bits;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(bits) : "r"(header + group * 2));
    scale[h] = ptx::twice_bf16(__half2float(__ushort_as_half(bits)));
    uint32_t point = 8;
    if (zero_points) asm volatile("ld.shared.u8 %0, [%1];" : "=r"(point) : "r"(header + 16 + group));
    zero[h] = 0x43004300u + point * 0x10001u;
  }

  // The left operand of the group's `step` of 16 columns.
  __device__ __forceinline__ void widen(uint32_t (&a)[4], int step) const {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint32_t word = step < 2 ? q[h].x : step < 4 ? q[h].y : step < 6 ? q[h].z : q[h].w;
#pragma unroll
      for (int pair = 0; pair < 2; ++pair) {
        const uint32_t wide = ptx::nibbles_plus_128(word, step % 2 * 2 + pair);
        a[h + pair * 2] = ptx::mul_bf16x2(ptx::sub_bf16x2(wide, zero[h]), scale[h]);
      }
    }
  }
};

__device__ __forceinline__ void store(const ProductParams& p, int64_t token, int unit, float value) {
  if (p.y_f32) {
    static_cast<float*>(p.y)[token * p.y_stride + unit] = value;
  } else {
    static_cast<__nv_bfloat16*>(p.y)[token * p.y_stride + unit] = __float2bfloat16_rn(value);
  }
}

__device__ __forceinline__ float gated(const ProductParams& p, float gate, float up, int unit) {
  if (p.bias != nullptr) {
    gate += p.bias[unit];
    up += p.bias[unit + p.units];
  }
  return gate / (1.0f + __expf(-gate)) * up;
}

// A tile of `units` straight from the registers; `warp` counts in the tile.
template <int kTokens, bool kGateUp>
__device__ __forceinline__ void store_tile(const ProductParams& p, const float (&acc)[kTokens / 2], int first_unit,
                                           int units, int first_token, int warp, int lane) {
  const int count = used_rows(p);
#pragma unroll
  for (int h = 0; h < (kGateUp ? 1 : 2); ++h) {
    const int slot = (kGateUp ? warp * 8 : warp * 16 + h * 8) + lane / 4;
    if (slot >= units) continue;
    const int unit = first_unit + slot;
    const float bias = kGateUp || p.bias == nullptr ? 0.0f : p.bias[unit];
#pragma unroll
    for (int i = 0; i < kTokens / 4; ++i) {
      const int token = first_token + i / 2 * 8 + lane % 4 * 2 + i % 2;
      const int at = i / 2 * 4 + i % 2;
      if (token >= count) continue;
      store(p, token, unit, kGateUp ? gated(p, acc[at], acc[at + 2], unit) : acc[at + h * 2] + bias);
    }
  }
}

// A tile to shared memory, rows of x `kPitch` floats apart; `warp` counts in the tile.
template <int kPitch, int kCount>
__device__ __forceinline__ void put_sums(float* sums, const float (&acc)[kCount], int warp, int lane) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int token = i / 4 * 8 + lane % 4 * 2 + i % 2;
    sums[token * kPitch + warp * 16 + i / 2 % 2 * 8 + lane / 4] = acc[i];
  }
}

// What lies at this shared address in the cluster's first `split` CTAs, added in the order of their ranks.
template <int kMaxSplit>
__device__ __forceinline__ float cluster_sum(uint32_t at, int split) {
  float part[kMaxSplit];
#pragma unroll
  for (int r = 0; r < kMaxSplit; ++r) part[r] = r < split ? ptx::load_cluster_float(at, r) : 0.0f;
  float sum = part[0];
#pragma unroll
  for (int r = 1; r < kMaxSplit; ++r) sum += part[r];
  return sum;
}

}  // namespace glimpse::cuda::wide_i4
