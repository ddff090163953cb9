#include <algorithm>

#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

namespace {

// RGB bytes, rows packed.
struct Picture {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> bytes;

  uint8_t at(int64_t y, int64_t x, int64_t c) const { return bytes[static_cast<size_t>((y * width + x) * 3 + c)]; }
};

template <typename T>
const T* table(const CutPictureArgs& args, size_t offset) {
  return reinterpret_cast<const T*>(args.block + offset);
}

// One pass: pixel(o, j) of the source is the j-th below the window of output o.
template <typename Pixel>
uint8_t resampled(const CutPictureArgs& args, const ResampleTables& axis, int64_t o, const Pixel& pixel) {
  const int32_t first = table<int32_t>(args, axis.first)[o];
  const int32_t* weights = table<int32_t>(args, axis.weights) + o * axis.taps;
  int32_t sum = 1 << (axis.shift - 1);
  for (int32_t j = 0; j < table<int32_t>(args, axis.count)[o]; ++j) sum += pixel(first + j) * weights[j];
  return static_cast<uint8_t>(std::clamp(sum >> axis.shift, 0, 255));
}

Picture along_x(const CutPictureArgs& args, const Picture& in) {
  const ResampleTables& axis = args.layout.across;
  if (!axis.resamples()) return in;
  Picture out{axis.out, in.height, {}};
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        out.bytes.push_back(resampled(args, axis, x, [&](int64_t from) { return in.at(y, from, c); }));
      }
    }
  }
  return out;
}

Picture along_y(const CutPictureArgs& args, const Picture& in) {
  const ResampleTables& axis = args.layout.down;
  if (!axis.resamples()) return in;
  Picture out{in.width, axis.out, {}};
  for (int64_t y = 0; y < out.height; ++y) {
    for (int64_t x = 0; x < out.width; ++x) {
      for (int64_t c = 0; c < 3; ++c) {
        out.bytes.push_back(resampled(args, axis, y, [&](int64_t from) { return in.at(from, x, c); }));
      }
    }
  }
  return out;
}

}  // namespace

void cut_picture(const CutPictureArgs& args) {
  const PictureBlock& layout = args.layout;
  const auto* pixels = table<uint8_t>(args, 0);
  Picture picture{layout.across.in, layout.down.in, {}};
  picture.bytes.assign(pixels, pixels + picture.width * picture.height * 3);
  picture = layout.down_first ? along_x(args, along_y(args, picture)) : along_y(args, along_x(args, picture));

  const auto* values = table<float>(args, layout.values);
  const int64_t side = layout.patch_size;
  const int64_t merge = layout.merge_size;
  int64_t row = 0;
  for (int64_t wy = 0; wy < picture.height / (side * merge); ++wy) {
    for (int64_t wx = 0; wx < picture.width / (side * merge); ++wx) {
      for (int64_t patch = 0; patch < merge * merge; ++patch, ++row) {
        const int64_t top = (wy * merge + patch / merge) * side;
        const int64_t left = (wx * merge + patch % merge) * side;
        for (int64_t i = 0; i < layout.patch_values(); ++i) {
          const int64_t c = i / (side * side);
          const uint8_t byte = picture.at(top + i / side % side, left + i % side, c);
          put_element(args.patches, row, i, values[c * 256 + byte]);
        }
      }
    }
  }
}

}  // namespace glimpse::reference
