#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul.h"

// A warp computes one output column for kRows rows of x: a lane takes every 32nd column of W. For tiny models, odd
// shapes and cards without the fast kernels.

namespace glimpse::cuda {

namespace {

constexpr int kRows = 4;
constexpr int kWarps = 4;

__device__ float weight_at(const MatmulWeight& w, int64_t row, int k) {
  if (w.format == MatmulFormat::kBF16)
    return __bfloat162float(static_cast<const __nv_bfloat16*>(w.data)[row * w.k + k]);
  if (w.format == MatmulFormat::kF8) return float(static_cast<const __nv_fp8_e4m3*>(w.data)[row * w.k + k]);
  const int chunk = k / i4::kChunk;
  const int group = k % i4::kChunk / i4::kGroup;
  const auto* base = static_cast<const uint8_t*>(w.data);
  const uint8_t* values =
      base + i4::values_at(w.n, w.k, row, chunk) + i4::slot(row, group, i4::chunk_groups(w.k, chunk)) * i4::kGroupBytes;
  const uint8_t* header = base + i4::header_at(w.n, w.k, row, chunk, w.zero_points);
  const i4::Place place = i4::place(k % i4::kGroup);
  const int zero = w.zero_points ? header[16 + group] : 8;
  const int value =
      static_cast<int>((reinterpret_cast<const uint32_t*>(values)[place.word] >> place.shift) & 15u) - zero;
  return static_cast<float>(value) * __half2float(reinterpret_cast<const __half*>(header)[group]);
}

__device__ float x_at(const MatmulWeight& w, const MatmulOperands& o, int64_t row, int k) {
  if (o.x_scales != nullptr) return float(static_cast<const __nv_fp8_e4m3*>(o.x)[row * o.x_stride + k]);
  return __bfloat162float(static_cast<const __nv_bfloat16*>(o.x)[row * o.x_stride + k]);
}

__device__ void sum_row(const MatmulWeight& w, const MatmulOperands& o, int64_t row, int first, int rows, int lane,
                        float (&sum)[kRows]) {
  for (int r = 0; r < kRows; ++r) sum[r] = 0;
  for (int k = lane; k < w.k; k += 32) {
    const float value = weight_at(w, row, k);
    for (int r = 0; r < rows; ++r) sum[r] += value * x_at(w, o, first + r, k);
  }
  for (int r = 0; r < kRows; ++r) {
    for (int step = 16; step > 0; step /= 2) sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], step);
    if (w.format == MatmulFormat::kF8 && r < rows)
      sum[r] *= w.scales[row] * (o.x_scales == nullptr ? 1.0f : o.x_scales[first + r]);
    if (w.bias != nullptr) sum[r] += w.bias[row];
  }
}

__global__ void generic_kernel(const MatmulWeight w, const MatmulOperands o, const int32_t units) {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
  const int unit = blockIdx.x * kWarps + threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int count = o.count == nullptr ? o.rows : min(o.rows, *o.count);
  const int first = blockIdx.y * kRows;
  const int rows = min(kRows, count - first);
  if (unit >= units || rows <= 0) return;
  float sum[kRows];
  sum_row(w, o, unit, first, rows, lane, sum);
  if (w.gate_up) {
    float up[kRows];
    sum_row(w, o, unit + units, first, rows, lane, up);
    for (int r = 0; r < kRows; ++r) sum[r] = sum[r] / (1.0f + __expf(-sum[r])) * up[r];
  }
  if (lane != 0) return;
  for (int r = 0; r < rows; ++r) {
    const int64_t at = (first + r) * o.y_stride + unit;
    if (o.y_f32) {
      static_cast<float*>(o.y)[at] = sum[r];
    } else {
      static_cast<__nv_bfloat16*>(o.y)[at] = __float2bfloat16_rn(sum[r]);
    }
  }
}

}  // namespace

cudaError_t matmul_generic(const MatmulWeight& weight, const MatmulOperands& operands, cudaStream_t stream) {
  const int32_t units = weight.gate_up ? weight.n / 2 : weight.n;
  const dim3 grid((units + kWarps - 1) / kWarps, (operands.rows + kRows - 1) / kRows);
  generic_kernel<<<grid, kWarps * 32, 0, stream>>>(weight, operands, units);
  return cudaGetLastError();
}

}  // namespace glimpse::cuda
