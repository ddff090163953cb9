#pragma once

// What the kernels that stream the weights share (matmul_skinny.cuh, matmul_skinny_i4.cu, matmul_batch_i4.cu).

#include <cuda_runtime.h>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda::skinny {

// Shared memory of a CTA: mostly so much that the small kernels between products find room beside it, or all of it.
constexpr int kRing = 192 << 10;
constexpr int kWhole = kMaxShared;

// The first of this CTA's units; the grid's first behind its last one is `units`.
__device__ __forceinline__ int first_unit(uint32_t cta, int units) {
  return static_cast<int>(static_cast<uint64_t>(cta) * static_cast<uint32_t>(units) / gridDim.x);
}

// What this CTA's successor will copy first, shared by `warps` copying warps; one lane of each calls.
__device__ __forceinline__ void prefetch_next(const MatmulNext& next, int warp, int warps) {
  constexpr int kPiece = 8192;
  const int64_t row = first_unit(blockIdx.x, next.units);
  const int64_t units = first_unit(blockIdx.x + 1, next.units) - row;
  const int halves = next.gate_up ? 2 : 1;
  int64_t left = next.cta_bytes / halves;
  for (int chunk = 0; chunk < next.chunks && left > 0; ++chunk) {
    const int64_t bytes = min(units * next.row_bytes, left);
    left -= bytes;
    for (int half = 0; half < halves; ++half) {
      const auto* source = static_cast<const uint8_t*>(next.data) + chunk * next.chunk_stride +
                           (row + half * static_cast<int64_t>(next.units)) * next.row_bytes;
      for (int64_t at = warp * kPiece; at < bytes; at += warps * kPiece) {
        ptx::bulk_prefetch(source + at, static_cast<uint32_t>(min(static_cast<int64_t>(kPiece), bytes - at)) & ~15u);
      }
    }
  }
}

cudaError_t launch_bf16(const MatmulWeight&, const MatmulOperands&, const MatmulDevice&, cudaStream_t);
cudaError_t launch_f8(const MatmulWeight&, const MatmulOperands&, const MatmulDevice&, cudaStream_t);
cudaError_t launch_i4(const MatmulWeight&, const MatmulOperands&, const MatmulDevice&, cudaStream_t);

}  // namespace glimpse::cuda::skinny
