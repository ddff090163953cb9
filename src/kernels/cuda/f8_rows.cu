#include "kernels/cuda/f8_rows.h"

#include "kernels/cuda/f8_rows.cuh"

namespace glimpse::cuda {

namespace {

struct F8Params {
  const int32_t* count;
  std::byte* values;
  int64_t stride_bytes;
  float* scales;
  int32_t cols;
};

template <int kVectors>
__global__ void __launch_bounds__(512) f8_rows_kernel(F8Params p) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *p.count) return;
  std::byte* row = p.values + r * p.stride_bytes;
  const int step = static_cast<int>(blockDim.x) * 8;
  float x[kVectors][8];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int c = v * step + static_cast<int>(threadIdx.x) * 8;
    if (c < p.cols) load8(reinterpret_cast<const __nv_bfloat16*>(row) + c, x[v]);
  }
  store_f8_row(x, p.cols, step, scratch, reinterpret_cast<__nv_fp8_e4m3*>(row), p.scales + r);
}

// Any number of columns. The bytes written lie in front of what is still to be read, or where this step's reading ended
// at a barrier.
__global__ void f8_rows_any_kernel(F8Params p) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *p.count) return;
  std::byte* row = p.values + r * p.stride_bytes;
  const auto* x = reinterpret_cast<const __nv_bfloat16*>(row);
  auto* q = reinterpret_cast<__nv_fp8_e4m3*>(row);
  float most = 0;
  for (int c = static_cast<int>(threadIdx.x); c < p.cols; c += static_cast<int>(blockDim.x)) {
    most = fmaxf(most, fabsf(to_f32(x[c])));
  }
  most = block_max_once(most, scratch);
  const F8Scale f8 = f8_scale(most);
  for (int first = 0; first < p.cols; first += static_cast<int>(blockDim.x)) {
    const int c = first + static_cast<int>(threadIdx.x);
    const float value = c < p.cols ? to_f32(x[c]) : 0.0f;
    __syncthreads();
    if (c < p.cols) q[c] = __nv_fp8_e4m3(value * f8.inverse);
  }
  if (threadIdx.x == 0) p.scales[r] = f8.unit;
}

}  // namespace

void finish_f8(const Activation& a, const Rows& rows, CudaStream& stream) {
  if (!holds_f8(a, rows.capacity)) return;
  const F8Params params{.count = rows.count,
                        .values = static_cast<std::byte*>(a.values.data),
                        .stride_bytes = f8_stride(a),
                        .scales = a.scales,
                        .cols = static_cast<int32_t>(a.values.cols)};
  RowBlock block;
  if (!in_eights(a.values) || !row_block(a.values.cols, block)) {
    launch(f8_rows_any_kernel, static_cast<unsigned>(rows.capacity), 256, stream, params);
  } else if (block.vectors == 1) {
    launch(f8_rows_kernel<1>, static_cast<unsigned>(rows.capacity), block.threads, stream, params);
  } else if (block.vectors == 2) {
    launch(f8_rows_kernel<2>, static_cast<unsigned>(rows.capacity), block.threads, stream, params);
  } else {
    launch(f8_rows_kernel<4>, static_cast<unsigned>(rows.capacity), block.threads, stream, params);
  }
}

}  // namespace glimpse::cuda
