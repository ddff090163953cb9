#pragma once

// Rescale, normalise and cut into patches, in one pass over the resized bytes.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "image/options.h"
#include "image/parallel.h"
#include "image/rgb_image.h"

namespace glimpse {

enum class PatchDtype { kFloat32, kBfloat16 };

// The frames of a still are all the same picture. kAllFrames repeats it temporal_patch_size times, as the checkpoint's
// kernel expects; kOneFrame writes it once, for a model that has folded its kernel over time.
enum class PatchFrames { kAllFrames, kOneFrame };

struct PatchFormat {
  PatchDtype dtype = PatchDtype::kFloat32;
  PatchFrames frames = PatchFrames::kAllFrames;
};

// pixel_values of one still: [num_patches, patch_dim], row-major, and its row of image_grid_thw.
struct PatchGrid {
  std::array<int64_t, 3> grid_thw{};  // 1, and height and width in patches
  int64_t num_patches = 0;
  int64_t patch_dim = 0;  // 3 * frames * patch_size^2
  size_t size_bytes = 0;  // of the whole matrix in its dtype

  // Tokens that the picture takes in the prompt.
  int64_t num_tokens(const ImageOptions& options) const {
    return num_patches / (int64_t{options.merge_size} * options.merge_size);
  }
};

// Sides must be multiples of options.factor() (CHECK).
PatchGrid patch_grid(int height, int width, const ImageOptions& options, PatchFormat format);

// What each of the 256 byte values becomes, per channel, in fp32. kTorchvision: (x - mean * k) / (std * k), k = 1 /
// rescale_factor, every operation in fp32 (transformers image_processing_backends.py, rescale_and_normalize).
// kPillow: x * rescale_factor in double rounded to fp32, then (x - mean) / std.
std::array<std::array<float, 256>, 3> normalisation_table(const ImageOptions& options);

// Writes the matrix described by patch_grid(...) to `out`, which must be exactly that long and aligned to its dtype
// (CHECK). Rows in merge-window order: window row, window column, then the merge_size^2 patches inside, row-major.
// Columns: channel, frame, y, x. bf16 is fp32 rounded to nearest even. Cost: one table look-up per value.
void patchify(const RgbImage& image, const ImageOptions& options, PatchFormat format, std::span<std::byte> out,
              const ParallelFor& parallel = {});

}  // namespace glimpse
