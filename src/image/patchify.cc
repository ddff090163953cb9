#include "image/patchify.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace glimpse {

namespace {

template <typename T>
using Table = std::array<std::array<T, 256>, 3>;

uint16_t to_bfloat16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename T>
Table<T> table_as(const ImageOptions& options) {
  if constexpr (std::is_same_v<T, float>) {
    return normalisation_table(options);
  } else {
    Table<T> table{};
    const Table<float> exact = normalisation_table(options);
    for (size_t c = 0; c < 3; ++c) std::transform(exact[c].begin(), exact[c].end(), table[c].begin(), to_bfloat16);
    return table;
  }
}

// Where a row of the matrix goes and what it holds.
struct PatchShape {
  int64_t patch_size;
  int64_t merge_size;
  int64_t frames;
  int64_t windows_across;
  int64_t area() const { return patch_size * patch_size; }
  int64_t patch_dim() const { return 3 * frames * area(); }
};

// kPatchSize is the compile-time side for the published models, or 0 for any other.
template <typename T, int kPatchSize>
void write_patch(const RgbImage& image, const PatchShape& shape, const Table<T>& table, int64_t top, int64_t left,
                 T* out) {
  const int64_t side = kPatchSize != 0 ? kPatchSize : shape.patch_size;
  const int64_t channel_pitch = shape.frames * side * side;
  for (int64_t y = 0; y < side; ++y) {
    const uint8_t* src = image.row(static_cast<int>(top + y)) + 3 * left;
    T* red = out + y * side;
    T* green = red + channel_pitch;
    T* blue = green + channel_pitch;
    for (int64_t x = 0; x < side; ++x) {
      red[x] = table[0][src[3 * x]];
      green[x] = table[1][src[3 * x + 1]];
      blue[x] = table[2][src[3 * x + 2]];
    }
  }
  for (int64_t c = 0; c < 3; ++c) {
    T* first = out + c * channel_pitch;
    for (int64_t t = 1; t < shape.frames; ++t) std::copy_n(first, side * side, first + t * side * side);
  }
}

template <typename T, int kPatchSize>
void write_window_rows(const RgbImage& image, const PatchShape& shape, const Table<T>& table, T* out, int64_t begin,
                       int64_t end) {
  const int64_t merge = shape.merge_size;
  T* row = out + begin * shape.windows_across * merge * merge * shape.patch_dim();
  for (int64_t wy = begin; wy < end; ++wy) {
    for (int64_t wx = 0; wx < shape.windows_across; ++wx) {
      for (int64_t dy = 0; dy < merge; ++dy) {
        for (int64_t dx = 0; dx < merge; ++dx, row += shape.patch_dim()) {
          write_patch<T, kPatchSize>(image, shape, table, (wy * merge + dy) * shape.patch_size,
                                     (wx * merge + dx) * shape.patch_size, row);
        }
      }
    }
  }
}

template <typename T>
void write_all(const RgbImage& image, const ImageOptions& options, const PatchShape& shape, std::byte* out,
               const ParallelFor& parallel) {
  CHECK(reinterpret_cast<uintptr_t>(out) % alignof(T) == 0);
  const Table<T> table = table_as<T>(options);
  T* rows = reinterpret_cast<T*>(out);
  run_ranges(parallel, image.height() / options.factor(), [&](int64_t begin, int64_t end) {
    if (shape.patch_size == 14) {
      write_window_rows<T, 14>(image, shape, table, rows, begin, end);
    } else {
      write_window_rows<T, 0>(image, shape, table, rows, begin, end);
    }
  });
}

}  // namespace

PatchGrid patch_grid(int height, int width, const ImageOptions& options, PatchFormat format) {
  CHECK(height % options.factor() == 0 && width % options.factor() == 0, height, width, options.factor());
  const int64_t frames = format.frames == PatchFrames::kOneFrame ? 1 : options.temporal_patch_size;
  PatchGrid grid;
  grid.grid_thw = {1, height / options.patch_size, width / options.patch_size};
  grid.num_patches = grid.grid_thw[1] * grid.grid_thw[2];
  grid.patch_dim = 3 * frames * options.patch_size * options.patch_size;
  grid.size_bytes =
      static_cast<size_t>(grid.num_patches * grid.patch_dim) * (format.dtype == PatchDtype::kFloat32 ? 4 : 2);
  return grid;
}

std::array<std::array<float, 256>, 3> normalisation_table(const ImageOptions& options) {
  Table<float> table{};
  const bool fused = options.resampler == Resampler::kTorchvision && options.do_rescale && options.do_normalize;
  const auto inverse = static_cast<float>(1.0 / options.rescale_factor);
  for (size_t c = 0; c < 3; ++c) {
    const float mean = fused ? options.image_mean[c] * inverse : options.image_mean[c];
    const float std = fused ? options.image_std[c] * inverse : options.image_std[c];
    for (size_t i = 0; i < 256; ++i) {
      auto value = static_cast<float>(i);
      if (options.do_rescale && !fused) {
        // numpy scales in double and rounds once; torch multiplies bytes by the factor rounded to fp32.
        value = options.resampler == Resampler::kPillow
                    ? static_cast<float>(static_cast<double>(i) * options.rescale_factor)
                    : value * static_cast<float>(options.rescale_factor);
      }
      if (options.do_normalize) value = (value - mean) / std;
      table[c][i] = value;
    }
  }
  return table;
}

void patchify(const RgbImage& image, const ImageOptions& options, PatchFormat format, std::span<std::byte> out,
              const ParallelFor& parallel) {
  const PatchGrid grid = patch_grid(image.height(), image.width(), options, format);
  CHECK(out.size() == grid.size_bytes, out.size(), grid.size_bytes);
  const PatchShape shape{options.patch_size, options.merge_size,
                         format.frames == PatchFrames::kOneFrame ? 1 : options.temporal_patch_size,
                         image.width() / options.factor()};
  if (format.dtype == PatchDtype::kFloat32) {
    write_all<float>(image, options, shape, out.data(), parallel);
  } else {
    write_all<uint16_t>(image, options, shape, out.data(), parallel);
  }
}

}  // namespace glimpse
