// Embedding lookup and the rotary tables.

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ops.h"

namespace glimpse::cuda {

namespace {

struct EmbedParams {
  const int32_t* count;
  const int32_t* token_ids;
  const int32_t* last_ids;
  const int32_t* image_rows;
  const void* table;
  const void* images;
  void* x;
  int64_t table_stride, images_stride, x_stride, cols;
};

template <typename Table, typename Image, typename X>
__global__ void embed_kernel(EmbedParams p) {
  launch_dependents();
  wait_for_previous();
  const int64_t t = blockIdx.x;
  if (t >= *p.count) return;
  const int32_t image_row = p.image_rows != nullptr ? p.image_rows[t] : -1;
  X* x = static_cast<X*>(p.x) + t * p.x_stride;
  if (image_row >= 0) {
    const Image* row = static_cast<const Image*>(p.images) + image_row * p.images_stride;
    for (int64_t c = threadIdx.x; c < p.cols; c += blockDim.x) put(&x[c], to_f32(row[c]));
    return;
  }
  const int32_t token = p.token_ids[t];
  const int64_t id = token >= 0 ? token : p.last_ids[-1 - token];
  const Table* row = static_cast<const Table*>(p.table) + id * p.table_stride;
  for (int64_t c = threadIdx.x; c < p.cols; c += blockDim.x) put(&x[c], to_f32(row[c]));
}

__global__ void rope_table_kernel(const int32_t* count, const int32_t* positions, int64_t axis_stride,
                                  const float* inv_freq, const uint8_t* axis, int32_t num_pairs, float* cos,
                                  float* sin) {
  launch_dependents();
  wait_for_previous();
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t t = at / num_pairs;
  const auto i = static_cast<int32_t>(at % num_pairs);
  if (t >= *count) return;
  const int32_t position = positions[axis[i] * axis_stride + t];
  float s = 0;
  float c = 0;
  sincosf(static_cast<float>(position) * inv_freq[i], &s, &c);
  cos[at] = c;
  sin[at] = s;
}

}  // namespace

void embed(const EmbedArgs& args, CudaStream& stream) {
  if (args.tokens.capacity == 0) return;
  const EmbedParams params{.count = args.tokens.count,
                           .token_ids = args.token_ids,
                           .last_ids = args.last_ids,
                           .image_rows = args.image_rows,
                           .table = args.table.data,
                           .images = args.images.data,
                           .x = args.x.data,
                           .table_stride = args.table.stride,
                           .images_stride = args.images.stride,
                           .x_stride = args.x.stride,
                           .cols = args.x.cols};
  const auto start = [&](auto* table) {
    with_type(args.images ? args.images.dtype : args.x.dtype, [&](auto* image) {
      with_type(args.x.dtype, [&](auto* x) {
        launch(embed_kernel<std::remove_pointer_t<decltype(table)>, std::remove_pointer_t<decltype(image)>,
                            std::remove_pointer_t<decltype(x)>>,
               args.tokens.capacity, 256, stream, params);
      });
    });
  };
  // Only tables may be float16.
  if (args.table.dtype == DType::kF16) return start(static_cast<__half*>(nullptr));
  with_type(args.table.dtype, start);
}

void rope_table(const RopeTableArgs& args, CudaStream& stream) {
  if (args.tokens.capacity == 0) return;
  const int64_t axis_stride = args.axis_stride != 0 ? args.axis_stride : args.tokens.capacity;
  launch(rope_table_kernel, ceil_div(int64_t{args.tokens.capacity} * args.num_pairs, 256), 256, stream,
         args.tokens.count, args.positions, axis_stride, args.inv_freq, args.axis, args.num_pairs, args.cos, args.sin);
}

}  // namespace glimpse::cuda
