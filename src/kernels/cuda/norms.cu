// Residual add with RMS norms, and layer norm with GELU. One block a row; statistics in float32.

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/f8_rows.cuh"
#include "kernels/cuda/f8_rows.h"
#include "kernels/cuda/ops.h"

namespace glimpse::cuda {

namespace {

struct NormParams {
  const int32_t* count;
  const int32_t* row_idx;
  void* x;
  const void* branch;
  const float* branch_weight;
  const float* weight;
  void* y;
  float* scales;  // of e4m3 y
  int64_t x_stride, branch_stride, y_stride;
  int32_t cols;
  float eps;
};

// Eight norm weights a thread and vector. They never change, so they are read before the kernel in front has ended.
template <int kVectors>
struct NormWeights {
  float values[kVectors][8];

  __device__ void read(const float* weight, int cols, int step) {
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = v * step + static_cast<int>(threadIdx.x) * 8;
      if (c < cols) load8(weight + c, values[v]);
    }
  }
};

// How a block takes a row: in registers, kVectors pieces of eight columns a thread. What bounds few rows is the latency
// of memory: then (kEarly) everything is asked for at once. For many it is how many rows an SM has in work (kBlocks),
// and registers decide that.
template <int kVectors_, int kThreads_, int kBlocks_, bool kEarly_>
struct NormShape {
  static constexpr int kVectors = kVectors_;
  static constexpr int kThreads = kThreads_;  // at most
  static constexpr int kBlocks = kBlocks_;
  static constexpr bool kEarly = kEarly_;
};

template <typename X, typename Branch, typename Y, class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks) add_norm_kernel(NormParams p) {
  constexpr int kVectors = Shape::kVectors;
  constexpr bool kEarly = Shape::kEarly;
  constexpr bool kF8 = std::is_same_v<Y, __nv_fp8_e4m3>;  // f8_rows.cuh
  __shared__ float scratch[3][32];
  const int step = static_cast<int>(blockDim.x) * 8;
  const bool normed_branch = p.branch_weight != nullptr;
  launch_dependents();
  NormWeights<kVectors> weight;
  NormWeights<kVectors> branch_weight;
  if constexpr (kEarly) {
    weight.read(p.weight, p.cols, step);
    if (normed_branch) branch_weight.read(p.branch_weight, p.cols, step);
  }
  wait_for_previous();
  const int64_t r = blockIdx.x;
  const int32_t count = *p.count;
  // Rows behind the count are memory of ours as well; their indices need not be.
  if (p.row_idx != nullptr && r >= count) return;
  const int64_t source = p.row_idx != nullptr ? p.row_idx[r] : r;
  X* x_row = static_cast<X*>(p.x) + source * p.x_stride;
  float x[kVectors][8];
  float branch[kVectors][8];
  const Branch* branch_row = static_cast<const Branch*>(p.branch) + source * p.branch_stride;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int c = v * step + static_cast<int>(threadIdx.x) * 8;
    if (c >= p.cols) continue;
    if (p.branch != nullptr) load8(branch_row + c, branch[v]);
    load8(x_row + c, x[v]);
  }
  if (r >= count) return;
  if (p.branch != nullptr) {
    float scale = 1;
    if (normed_branch) {
      if constexpr (!kEarly) branch_weight.read(p.branch_weight, p.cols, step);
      float sum = 0;
#pragma unroll
      for (int v = 0; v < kVectors; ++v) {
        if (v * step + static_cast<int>(threadIdx.x) * 8 >= p.cols) continue;
#pragma unroll
        for (int i = 0; i < 8; ++i) sum += branch[v][i] * branch[v][i];
      }
      scale = rsqrtf(block_sum_once(sum, scratch[0]) / static_cast<float>(p.cols) + p.eps);
    }
#pragma unroll
    for (int v = 0; v < kVectors; ++v) {
      const int c = v * step + static_cast<int>(threadIdx.x) * 8;
      if (c >= p.cols) continue;
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        x[v][i] += normed_branch ? branch[v][i] * scale * branch_weight.values[v][i] : branch[v][i];
      }
      store8(x_row + c, x[v]);
      // What is normed is what was stored.
      if constexpr (sizeof(X) == 2) {
#pragma unroll
        for (int i = 0; i < 8; ++i) x[v][i] = rounded<X>(x[v][i]);
      }
    }
  }
  if constexpr (!kEarly) weight.read(p.weight, p.cols, step);
  float sum = 0;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    if (v * step + static_cast<int>(threadIdx.x) * 8 >= p.cols) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) sum += x[v][i] * x[v][i];
  }
  const float scale = rsqrtf(block_sum_once(sum, scratch[1]) / static_cast<float>(p.cols) + p.eps);
  Y* y_row = static_cast<Y*>(p.y) + r * p.y_stride;
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int c = v * step + static_cast<int>(threadIdx.x) * 8;
    if (c >= p.cols) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) x[v][i] *= scale * weight.values[v][i];
    if constexpr (!kF8) store8(y_row + c, x[v]);
  }
  if constexpr (kF8) store_f8_row(x, p.cols, step, scratch[2], y_row, p.scales + r);
}

// Any number of columns at any address.
template <typename X, typename Branch, typename Y>
__global__ void add_norm_any_kernel(NormParams p) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *p.count) return;
  const int64_t source = p.row_idx != nullptr ? p.row_idx[r] : r;
  X* x = static_cast<X*>(p.x) + source * p.x_stride;
  if (p.branch != nullptr) {
    const Branch* branch = static_cast<const Branch*>(p.branch) + source * p.branch_stride;
    float sum = 0;
    for (int c = threadIdx.x; c < p.cols; c += blockDim.x) sum += to_f32(branch[c]) * to_f32(branch[c]);
    const float scale = rsqrtf(block_sum(sum, scratch) / static_cast<float>(p.cols) + p.eps);
    for (int c = threadIdx.x; c < p.cols; c += blockDim.x) {
      const float value = to_f32(branch[c]);
      put(&x[c], to_f32(x[c]) + (p.branch_weight != nullptr ? value * scale * p.branch_weight[c] : value));
    }
  }
  float sum = 0;
  for (int c = threadIdx.x; c < p.cols; c += blockDim.x) sum += to_f32(x[c]) * to_f32(x[c]);
  const float scale = rsqrtf(block_sum(sum, scratch) / static_cast<float>(p.cols) + p.eps);
  Y* y = static_cast<Y*>(p.y) + r * p.y_stride;
  for (int c = threadIdx.x; c < p.cols; c += blockDim.x) put(&y[c], to_f32(x[c]) * scale * p.weight[c]);
}

template <typename X, typename Y>
__global__ void layernorm_gelu_kernel(const int32_t* count, const X* x, int64_t x_stride, const float* weight,
                                      const float* bias, float eps, int32_t cols, Y* y, int64_t y_stride) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *count) return;
  x += r * x_stride;
  y += r * y_stride;
  float sum = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += to_f32(x[c]);
  const float mean = block_sum(sum, scratch) / static_cast<float>(cols);
  float squares = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    const float centred = to_f32(x[c]) - mean;
    squares += centred * centred;
  }
  const float scale = rsqrtf(block_sum(squares, scratch) / static_cast<float>(cols) + eps);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    put(&y[c], gelu((to_f32(x[c]) - mean) * scale * weight[c] + bias[c]));
  }
}

constexpr int kFewRows = 64;

// Calls start(shape, threads) with the shape for so many rows of so many columns. False: too many columns.
template <typename Start>
bool with_norm_shape(int rows, int cols, const Start& start) {
  RowBlock block;
  if (!row_block(cols, block)) return false;
  const auto [threads, vectors] = block;
  if (vectors == 1 && rows <= kFewRows) {
    start(NormShape<1, 640, 2, true>(), threads);
  } else if (vectors == 1 && threads <= 256) {
    start(NormShape<1, 256, 6, false>(), threads);
  } else if (vectors == 1) {
    // Half the threads: four blocks an SM, so that 512 rows are one round on 132 of them.
    start(NormShape<2, 256, 4, false>(), (threads / 2 + 31) / 32 * 32);
  } else if (vectors == 2) {
    start(NormShape<2, 512, 1, false>(), threads);
  } else {
    start(NormShape<4, 512, 1, false>(), threads);
  }
  return true;
}

template <typename X, typename Branch, typename Y>
void launch_add_norm(const NormParams& params, int rows, bool eights, const CudaStream& stream) {
  const auto start = [&](auto shape, int threads) {
    const auto kernel = add_norm_kernel<X, Branch, Y, decltype(shape)>;
    if (rows <= kFewRows) prefer_shared_memory(reinterpret_cast<const void*>(kernel));
    launch(kernel, rows, threads, stream, params);
  };
  if (eights && with_norm_shape(rows, params.cols, start)) return;
  launch(add_norm_any_kernel<X, Branch, Y>, rows, 256, stream, params);
}

// With e4m3 rows of y. False, and nothing was enqueued, where the model's types or sizes are not those of fp8 models.
bool add_norm_f8(NormParams params, const AddNormArgs& args, bool eights, const CudaStream& stream) {
  using T = __nv_bfloat16;
  const bool bf16 = args.x.dtype == DType::kBF16 && (!args.branch || args.branch.dtype == DType::kBF16);
  if (!holds_f8(args.y, args.rows.capacity) || !bf16 || !eights) return false;
  params.scales = args.y.scales;
  params.y_stride = f8_stride(args.y);
  return with_norm_shape(args.rows.capacity, params.cols, [&](auto shape, int threads) {
    launch(add_norm_kernel<T, T, __nv_fp8_e4m3, decltype(shape)>, args.rows.capacity, threads, stream, params);
  });
}

bool in_eights(const float* p) {
  return reinterpret_cast<uintptr_t>(p) % 32 == 0;
}

}  // namespace

void add_norm(const AddNormArgs& args, CudaStream& stream) {
  if (args.rows.capacity == 0) return;
  const NormParams params{.count = args.rows.count,
                          .row_idx = args.row_idx,
                          .x = args.x.data,
                          .branch = args.branch.data,
                          .branch_weight = args.branch_weight,
                          .weight = args.weight,
                          .y = args.y.values.data,
                          .x_stride = args.x.stride,
                          .branch_stride = args.branch.stride,
                          .y_stride = args.y.values.stride,
                          .cols = static_cast<int32_t>(args.x.cols),
                          .eps = args.eps};
  const bool eights = cuda::in_eights(args.x) && cuda::in_eights(args.branch) && cuda::in_eights(args.y.values) &&
                      in_eights(args.weight) && in_eights(args.branch_weight);
  if (add_norm_f8(params, args, eights, stream)) return;
  with_type(args.x.dtype, [&](auto* x) {
    with_type(args.branch ? args.branch.dtype : args.x.dtype, [&](auto* branch) {
      with_type(args.y.values.dtype, [&](auto* y) {
        launch_add_norm<std::remove_pointer_t<decltype(x)>, std::remove_pointer_t<decltype(branch)>,
                        std::remove_pointer_t<decltype(y)>>(params, args.rows.capacity, eights, stream);
      });
    });
  });
  finish_f8(args.y, args.rows, stream);
}

void layernorm_gelu(const LayerNormGeluArgs& args, CudaStream& stream) {
  if (args.rows.capacity == 0) return;
  CHECK(args.y.scales == nullptr);
  with_type(args.x.dtype, [&](auto* x) {
    with_type(args.y.values.dtype, [&](auto* y) {
      using X = std::remove_pointer_t<decltype(x)>;
      using Y = std::remove_pointer_t<decltype(y)>;
      launch(layernorm_gelu_kernel<X, Y>, args.rows.capacity, 512, stream, args.rows.count,
             static_cast<const X*>(args.x.data), args.x.stride, args.weight, args.bias, args.eps,
             static_cast<int32_t>(args.x.cols), static_cast<Y*>(args.y.values.data), args.y.values.stride);
    });
  });
}

}  // namespace glimpse::cuda
