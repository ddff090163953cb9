// A decoded picture to patches: the two passes of the resize in integers, byte for byte those of image/, then a look-up
// of each byte's normalised value. A 1920x1080 picture moves 35 MB, mostly within L2.

#include <algorithm>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/products.h"

namespace glimpse::cuda {

namespace {

constexpr int kThreads = 256;
constexpr unsigned kMaxGridRows = 65535;

struct Axis {
  const int32_t* first;
  const int32_t* count;
  const int32_t* weights;
  int32_t taps, shift;
};

Axis axis_of(const ResampleTables& tables, const std::byte* block) {
  const auto at = [&](size_t offset) { return reinterpret_cast<const int32_t*>(block + offset); };
  return {at(tables.first), at(tables.count), at(tables.weights), tables.taps, tables.shift};
}

// A byte of the output a thread; rows [blockIdx.y, rows) in strides. kAcross: windows lie along the row.
template <bool kAcross>
__global__ void resample_kernel(Axis axis, const uint8_t* in, int64_t in_stride, uint8_t* out, int32_t row_bytes,
                                int32_t rows) {
  launch_dependents();
  wait_for_previous();
  const auto i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= row_bytes) return;
  for (auto y = static_cast<int32_t>(blockIdx.y); y < rows; y += static_cast<int32_t>(gridDim.y)) {
    const int32_t o = kAcross ? i / 3 : y;
    const int32_t first = axis.first[o];
    const uint8_t* window = kAcross ? in + y * in_stride + first * 3 + i % 3 : in + first * in_stride + i;
    const int64_t step = kAcross ? 3 : in_stride;
    const int32_t* weights = axis.weights + int64_t{o} * axis.taps;
    int32_t sum = 1 << (axis.shift - 1);
    for (int32_t j = 0; j < axis.count[o]; ++j) sum += window[j * step] * weights[j];
    out[int64_t{y} * row_bytes + i] = static_cast<uint8_t>(min(max(sum >> axis.shift, 0), 255));
  }
}

// A value of a patch a thread; patches [blockIdx.y, patches) in strides.
template <typename T>
__global__ void cut_kernel(const uint8_t* picture, int64_t width, int32_t side, int32_t merge, int32_t windows_across,
                           const float* values, T* out, int64_t out_stride, int64_t patches) {
  launch_dependents();
  wait_for_previous();
  const auto i = static_cast<int32_t>(blockIdx.x * blockDim.x + threadIdx.x);
  const int32_t area = side * side;
  if (i >= 3 * area) return;
  const int32_t c = i / area;
  const int32_t y = i / side % side;
  const int32_t x = i % side;
  for (int64_t p = blockIdx.y; p < patches; p += gridDim.y) {
    const int64_t window = p / (merge * merge);
    const auto inside = static_cast<int32_t>(p % (merge * merge));
    const int64_t top = (window / windows_across * merge + inside / merge) * side + y;
    const int64_t left = (window % windows_across * merge + inside % merge) * side + x;
    put(&out[p * out_stride + i], values[c * 256 + picture[(top * width + left) * 3 + c]]);
  }
}

dim3 grid_of(int64_t columns, int64_t rows) {
  return {static_cast<unsigned>(ceil_div(columns, kThreads)),
          static_cast<unsigned>(std::min<int64_t>(rows, kMaxGridRows))};
}

}  // namespace

void cut_picture(const CutPictureArgs& args, CudaStream& stream) {
  const PictureBlock& layout = args.layout;
  auto* scratch = stream.workspace<uint8_t>(cut_picture_workspace(args));
  struct {
    const uint8_t* bytes;
    int32_t width, height;
  } picture{reinterpret_cast<const uint8_t*>(args.block), layout.across.in, layout.down.in};
  const auto pass = [&](bool across) {
    const ResampleTables& tables = across ? layout.across : layout.down;
    if (!tables.resamples()) return;
    const int32_t width = across ? tables.out : picture.width;
    const int32_t height = across ? picture.height : tables.out;
    uint8_t* out = scratch;
    scratch += workspace_part(static_cast<size_t>(width) * static_cast<size_t>(height) * 3);
    launch(across ? resample_kernel<true> : resample_kernel<false>, grid_of(int64_t{width} * 3, height), kThreads,
           stream, axis_of(tables, args.block), picture.bytes, int64_t{picture.width} * 3, out, width * 3, height);
    picture = {out, width, height};
  };
  pass(!layout.down_first);
  pass(layout.down_first);
  with_type(args.patches.dtype, [&](auto* to) {
    using T = std::remove_pointer_t<decltype(to)>;
    launch(cut_kernel<T>, grid_of(layout.patch_values(), layout.num_patches()), kThreads, stream, picture.bytes,
           int64_t{picture.width}, layout.patch_size, layout.merge_size,
           picture.width / (layout.patch_size * layout.merge_size),
           reinterpret_cast<const float*>(args.block + layout.values), static_cast<T*>(args.patches.data),
           args.patches.stride, layout.num_patches());
  });
}

size_t cut_picture_workspace(const CutPictureArgs& args) {
  return workspace_part(args.layout.middle_bytes()) + workspace_part(args.layout.resized_bytes());
}

}  // namespace glimpse::cuda
