// A product for every shape and alignment, float32 sums in order of k: the fallback of small or odd models, and the way
// of float32 models.

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/products.h"

namespace glimpse::cuda {

namespace {

constexpr int kTile = 64;   // rows of x and of W a block
constexpr int kDepth = 16;  // columns at a time

// 256 threads, 4 x 4 results each.
template <typename W, typename X, typename Y>
__global__ void __launch_bounds__(256) product_any_kernel(const W* w, const X* x, Y* y, int64_t n, int64_t k, int64_t m,
                                                          int64_t x_stride, int64_t y_stride) {
  __shared__ float xs[kDepth][kTile + 1];
  __shared__ float ws[kDepth][kTile + 1];
  const int64_t row0 = int64_t{blockIdx.y} * kTile;
  const int64_t col0 = int64_t{blockIdx.x} * kTile;
  const int tx = static_cast<int>(threadIdx.x) % 16;
  const int ty = static_cast<int>(threadIdx.x) / 16;
  float sums[4][4] = {};
  for (int64_t depth = 0; depth < k; depth += kDepth) {
    for (int i = static_cast<int>(threadIdx.x); i < kTile * kDepth; i += 256) {
      const int r = i / kDepth;
      const int d = i % kDepth;
      const bool inside = depth + d < k;
      xs[d][r] = inside && row0 + r < m ? to_f32(x[(row0 + r) * x_stride + depth + d]) : 0.0f;
      ws[d][r] = inside && col0 + r < n ? to_f32(w[(col0 + r) * k + depth + d]) : 0.0f;
    }
    __syncthreads();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[i][j] += xs[d][ty * 4 + i] * ws[d][tx * 4 + j];
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int64_t r = row0 + ty * 4 + i;
      const int64_t c = col0 + tx * 4 + j;
      if (r < m && c < n) put(&y[r * y_stride + c], sums[i][j]);
    }
  }
}

template <typename W, typename X>
void launch(const CudaLinear& weight, const Matrix& x, int64_t m, const Matrix& y, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(weight.rows, kTile)), static_cast<unsigned>(ceil_div(m, kTile)));
  with_type(y.dtype, [&](auto* out) {
    using Y = std::remove_pointer_t<decltype(out)>;
    product_any_kernel<W, X, Y><<<grid, 256, 0, stream>>>(weight.data<W>(), static_cast<const X*>(x.data),
                                                          static_cast<Y*>(y.data), weight.rows, weight.cols, m,
                                                          x.stride, y.stride);
  });
  check_launch();
}

}  // namespace

void product_any(const CudaLinear& weight, const Matrix& x, int64_t m, const Matrix& y, cudaStream_t stream) {
  if (weight.format == WeightFormat::kF32) {
    launch<float, float>(weight, x, m, y, stream);
  } else {
    launch<__nv_bfloat16, __nv_bfloat16>(weight, x, m, y, stream);
  }
}

}  // namespace glimpse::cuda
