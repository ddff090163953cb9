// linear and gate_up_silu: the product, then what follows it.

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/f8_rows.cuh"
#include "kernels/cuda/f8_rows.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/products.h"

namespace glimpse::cuda {

namespace {

// y = epilogue(p + bias), row by row.
template <typename Y>
__global__ void finish_kernel(const int32_t* count, const float* product, int64_t n, const float* bias, bool with_gelu,
                              Y* y, int64_t y_stride) {
  const int64_t r = blockIdx.y;
  if (r >= *count) return;
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= n) return;
  float value = product[r * n + c];
  if (bias != nullptr) value += bias[c];
  put(&y[r * y_stride + c], with_gelu ? gelu(value) : value);
}

// y = silu(g) u with [g | u] = p + bias. kEight: eight columns a thread.
template <typename P, typename Y, bool kEight>
__global__ void silu_kernel(const int32_t* count, const P* product, int64_t half, const float* bias, Y* y,
                            int64_t y_stride) {
  const int64_t r = blockIdx.y;
  if (r >= *count) return;
  const int64_t c = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * (kEight ? 8 : 1);
  if (c >= half) return;
  const P* row = product + r * 2 * half;
  if constexpr (kEight) {
    float g[8];
    float u[8];
    load8(row + c, g);
    load8(row + half + c, u);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (bias != nullptr) {
        g[i] += bias[c + i];
        u[i] += bias[half + c + i];
      }
      g[i] = silu(g[i]) * u[i];
    }
    store8(y + r * y_stride + c, g);
  } else {
    float g = to_f32(row[c]);
    float u = to_f32(row[half + c]);
    if (bias != nullptr) {
      g += bias[c];
      u += bias[half + c];
    }
    put(&y[r * y_stride + c], silu(g) * u);
  }
}

// The same to e4m3 (f8_rows.cuh): a block a row, kVectors pieces of eight columns a thread.
template <typename P, int kVectors>
__global__ void __launch_bounds__(512, 2)
    silu_f8_kernel(const int32_t* count, const P* product, int32_t half, const float* bias, __nv_fp8_e4m3* q,
                   int64_t q_stride, float* scales) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *count) return;
  const P* row = product + r * 2 * half;
  const int step = static_cast<int>(blockDim.x) * 8;
  float g[kVectors][8];
#pragma unroll
  for (int v = 0; v < kVectors; ++v) {
    const int c = v * step + static_cast<int>(threadIdx.x) * 8;
    if (c >= half) continue;
    float u[8];
    load8(row + c, g[v]);
    load8(row + half + c, u);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (bias != nullptr) {
        g[v][i] += bias[c + i];
        u[i] += bias[half + c + i];
      }
      g[v][i] = silu(g[v][i]) * u[i];
    }
  }
  store_f8_row(g, half, step, scratch, q + r * q_stride, scales + r);
}

// False, and nothing was enqueued, where a row does not fit into a block's registers.
bool silu_f8(const GateUpSiluArgs& args, const Matrix& product, const float* bias, CudaStream& stream) {
  const int64_t half = product.cols / 2;
  RowBlock block;
  if (!holds_f8(args.y, args.rows.capacity) || !in_eights(args.y.values) || !row_block(half, block)) return false;
  const auto start = [&](auto* in, auto kernel) {
    launch(kernel, static_cast<unsigned>(args.rows.capacity), block.threads, stream, args.rows.count,
           static_cast<decltype(in)>(product.data), static_cast<int32_t>(half), bias,
           static_cast<__nv_fp8_e4m3*>(args.y.values.data), f8_stride(args.y), args.y.scales);
  };
  with_type(product.dtype, [&](auto* in) {
    using P = std::remove_pointer_t<decltype(in)>;
    start(in, block.vectors == 1   ? silu_f8_kernel<P, 1>
              : block.vectors == 2 ? silu_f8_kernel<P, 2>
                                   : silu_f8_kernel<P, 4>);
  });
  return true;
}

DType gate_up_dtype(const GateUpSiluArgs& args) {
  return args.rows.capacity <= kFloatRows ? DType::kF32 : args.y.values.dtype;
}

bool is_direct(const LinearArgs& args) {
  return args.epilogue == Epilogue::kNone && cuda_linear(args.weight).bias() == nullptr;
}

}  // namespace

void linear(const LinearArgs& args, CudaStream& stream) {
  const int64_t m = args.rows.capacity;
  if (m == 0) return;
  CHECK(args.y.scales == nullptr);
  const CudaLinear& weight = cuda_linear(args.weight);
  const size_t scratch_bytes = Products::scratch_bytes(weight, m);
  if (is_direct(args) || args.epilogue == Epilogue::kNone) {
    auto* scratch = stream.workspace<std::byte>(scratch_bytes);
    if (args.epilogue == Epilogue::kNone &&
        stream.products().run_fused(weight, args.x, args.rows, args.y.values, stream, scratch)) {
      return;
    }
    if (is_direct(args)) return stream.products().run(weight, args.x, m, args.y.values, stream, scratch);
  }
  const size_t product_bytes = workspace_part(static_cast<size_t>(m * weight.rows) * sizeof(float));
  auto* workspace = stream.workspace<std::byte>(product_bytes + scratch_bytes);
  const Matrix product{workspace, DType::kF32, m, weight.rows, weight.rows};
  stream.products().run(weight, args.x, m, product, stream, workspace + product_bytes);
  const dim3 grid(static_cast<unsigned>(ceil_div(weight.rows, 256)), static_cast<unsigned>(m));
  with_type(args.y.values.dtype, [&](auto* out) {
    using Y = std::remove_pointer_t<decltype(out)>;
    finish_kernel<Y><<<grid, 256, 0, stream.handle()>>>(args.rows.count, static_cast<const float*>(product.data),
                                                        weight.rows, weight.bias(), args.epilogue == Epilogue::kGelu,
                                                        static_cast<Y*>(args.y.values.data), args.y.values.stride);
  });
  check_launch();
}

void gate_up_silu(const GateUpSiluArgs& args, CudaStream& stream) {
  const int64_t m = args.rows.capacity;
  if (m == 0) return;
  const CudaLinear& weight = cuda_linear(args.weight);
  const DType dtype = gate_up_dtype(args);
  const size_t product_bytes = workspace_part(static_cast<size_t>(m * weight.rows) * dtype_bytes(dtype));
  const size_t scratch_bytes = Products::scratch_bytes(weight, m);
  auto* workspace = stream.workspace<std::byte>(product_bytes + scratch_bytes);
  std::byte* scratch = workspace + product_bytes;
  if (stream.products().run_fused(weight, args.x, args.rows, args.y.values, stream, scratch)) {
    return finish_f8(args.y, args.rows, stream);
  }
  const Matrix product{workspace, dtype, m, weight.rows, weight.rows};
  stream.products().run(weight, args.x, m, product, stream, scratch);
  if (silu_f8(args, product, weight.bias(), stream)) return;
  const int64_t half = weight.rows / 2;
  const bool eight = half % 8 == 0 && in_eights(args.y.values);
  const dim3 grid(static_cast<unsigned>(ceil_div(half, eight ? 256 * 8 : 256)), static_cast<unsigned>(m));
  with_type(dtype, [&](auto* in) {
    with_type(args.y.values.dtype, [&](auto* out) {
      using P = std::remove_pointer_t<decltype(in)>;
      using Y = std::remove_pointer_t<decltype(out)>;
      const auto* p = static_cast<const P*>(product.data);
      auto* y = static_cast<Y*>(args.y.values.data);
      if (eight) {
        silu_kernel<P, Y, true>
            <<<grid, 256, 0, stream.handle()>>>(args.rows.count, p, half, weight.bias(), y, args.y.values.stride);
      } else {
        silu_kernel<P, Y, false>
            <<<grid, 256, 0, stream.handle()>>>(args.rows.count, p, half, weight.bias(), y, args.y.values.stride);
      }
    });
  });
  check_launch();
  finish_f8(args.y, args.rows, stream);
}

size_t linear_workspace(const LinearArgs& args) {
  const int64_t m = args.rows.capacity;
  const size_t scratch = Products::scratch_bytes(*args.weight, m);
  return scratch + (is_direct(args) ? 0 : workspace_part(static_cast<size_t>(m * args.weight->rows) * sizeof(float)));
}

size_t gate_up_silu_workspace(const GateUpSiluArgs& args) {
  // Smaller capacities than this one may need more: float32 up to kFloatRows.
  const int64_t few = std::min<int64_t>(args.rows.capacity, kFloatRows);
  const int64_t product =
      std::max(few * args.weight->rows * static_cast<int64_t>(sizeof(float)),
               args.rows.capacity * args.weight->rows * static_cast<int64_t>(dtype_bytes(gate_up_dtype(args))));
  return workspace_part(static_cast<size_t>(product)) + Products::scratch_bytes(*args.weight, args.rows.capacity);
}

}  // namespace glimpse::cuda
