#pragma once

// Warp-wide bfloat16 products of sm_80 and up, and the copies that feed them.

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/attention_tiles.cuh"

namespace glimpse::cuda {

// Copies 16 bytes to shared memory in the background, or zeros when `present` is false (then src is not read).
__device__ __forceinline__ void copy_16(void* dst, const void* src, bool present) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(dst));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(src), "r"(present ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copies_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void copies_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Four 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8.
__device__ __forceinline__ void load_matrices(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
__device__ __forceinline__ void load_matrices_transposed(uint32_t (&r)[4], const void* row) {
  const auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}

// d [16, 8] += a [16, 16] b [16, 8]. A lane's d: rows lane / 4 (d0, d1) and + 8 (d2, d3), columns lane % 4 * 2 and + 1.
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A running softmax over tiles of keys, for the 16 rows of a warp (a lane has rows lane / 4 and + 8).
template <int kEights>  // columns of a tile, in eights
struct WarpSoftmax {
  float max[2] = {-INFINITY, -INFINITY};  // times scale_log2
  float sum[2] = {};                      // of this lane's columns

  // s becomes 2^(scale_log2 s - max); returns what earlier sums of values are to be multiplied by.
  __device__ __forceinline__ float2 soften(float (&s)[kEights][4], float scale_log2) {
    float correction[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = -INFINITY;
#pragma unroll
      for (int j = 0; j < kEights; ++j) top = fmaxf(top, fmaxf(s[j][2 * r], s[j][2 * r + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
      top = fmaxf(max[r], top * scale_log2);
      const float base = top == -INFINITY ? 0.0f : top;  // nothing seen yet
      correction[r] = power_of_two(max[r] - base);
      max[r] = top;
      float total = 0;
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
#pragma unroll
        for (int i = 2 * r; i < 2 * r + 2; ++i) {
          s[j][i] = power_of_two(fmaf(s[j][i], scale_log2, -base));
          total += s[j][i];
        }
      }
      sum[r] = fmaf(sum[r], correction[r], total);
    }
    return make_float2(correction[0], correction[1]);
  }

  // Over the row's four lanes.
  __device__ __forceinline__ float row_sum(int r) const {
    const float two = sum[r] + __shfl_xor_sync(0xffffffff, sum[r], 1);
    return two + __shfl_xor_sync(0xffffffff, two, 2);
  }
};

}  // namespace glimpse::cuda
