// The patch product; then bias, RMS norm and the bicubically sampled position embedding.

#include "kernels/bicubic.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/products.h"

namespace glimpse::cuda {

namespace {

struct PatchParams {
  const int32_t* count;
  const float* product;
  const float* bias;
  const float* norm_weight;
  const float* table;
  const int32_t* row;
  const int32_t* col;
  const int32_t* grid_h;
  const int32_t* grid_w;
  int64_t x_stride;
  int32_t hidden, side;
  float eps;
};

template <typename X>
__global__ void patch_kernel(PatchParams p, X* x) {
  __shared__ float scratch[32];
  launch_dependents();
  wait_for_previous();
  const int64_t r = blockIdx.x;
  if (r >= *p.count) return;
  const float* product = p.product + r * p.hidden;
  float sum = 0;
  for (int32_t c = threadIdx.x; c < p.hidden; c += blockDim.x) {
    const float value = product[c] + (p.bias != nullptr ? p.bias[c] : 0.0f);
    sum += value * value;
  }
  const float scale = rsqrtf(block_sum(sum, scratch) / static_cast<float>(p.hidden) + p.eps);
  const BicubicTaps across = bicubic_taps(p.col[r], p.grid_w[r], p.side);
  const BicubicTaps down = bicubic_taps(p.row[r], p.grid_h[r], p.side);
  for (int32_t c = threadIdx.x; c < p.hidden; c += blockDim.x) {
    const float value = product[c] + (p.bias != nullptr ? p.bias[c] : 0.0f);
    float position = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float line = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int64_t cell = int64_t{down.index[i]} * p.side + across.index[j];
        line += across.weight[j] * p.table[cell * p.hidden + c];
      }
      position += down.weight[i] * line;
    }
    put(&x[r * p.x_stride + c], value * scale * p.norm_weight[c] + position);
  }
}

}  // namespace

void patch_embed_pos(const PatchEmbedPosArgs& args, CudaStream& stream) {
  const int64_t m = args.patches.capacity;
  if (m == 0) return;
  const CudaLinear& weight = cuda_linear(args.weight);
  const Matrix product{stream.workspace<float>(static_cast<size_t>(m * weight.rows)), DType::kF32, m, weight.rows,
                       weight.rows};
  stream.products().run(weight, {.values = args.pixels}, m, product, stream);
  const PatchParams params{.count = args.patches.count,
                           .product = static_cast<const float*>(product.data),
                           .bias = weight.bias(),
                           .norm_weight = args.norm_weight,
                           .table = args.table,
                           .row = args.row,
                           .col = args.col,
                           .grid_h = args.grid_h,
                           .grid_w = args.grid_w,
                           .x_stride = args.x.stride,
                           .hidden = static_cast<int32_t>(weight.rows),
                           .side = args.table_side,
                           .eps = args.eps};
  with_type(args.x.dtype, [&](auto* to) {
    using X = std::remove_pointer_t<decltype(to)>;
    launch(patch_kernel<X>, static_cast<unsigned>(m), 256, stream, params, static_cast<X*>(args.x.data));
  });
}

size_t patch_embed_pos_workspace(const PatchEmbedPosArgs& args) {
  return static_cast<size_t>(args.patches.capacity * args.weight->rows) * sizeof(float);
}

}  // namespace glimpse::cuda
