#pragma once

// A decoded picture with all that a device needs to make the vision tower's patches of it, in one block of host memory
// that goes over in one copy: the resize's windows and weights and the values of normalised bytes are looked up, so a
// device's patches are those of image/, bit for bit.

#include <cstddef>
#include <cstdint>

namespace glimpse {

// One axis of an antialiased resize in fixed point:
//   out[o] = clamp((2^(shift-1) + sum_j in[first[o] + j] * weights[o, j]) >> shift, 0, 255), j < count[o]
// Offsets count bytes of the block.
struct ResampleTables {
  int32_t in = 0;
  int32_t out = 0;  // = in: the axis is not resampled, and there are no tables
  int32_t shift = 0;
  int32_t taps = 0;    // pitch of weights
  size_t first = 0;    // int32 [out]
  size_t count = 0;    // int32 [out]
  size_t weights = 0;  // int32 [out, taps]

  bool resamples() const { return in != out; }
};

// The block begins with the picture: height x width x 3 bytes, rows packed, red first (down.in and across.in).
struct PictureBlock {
  ResampleTables across, down;
  bool down_first = false;  // else along x, then along y; bytes in between
  size_t values = 0;        // offset of float [3, 256]: what the bytes of each channel become
  int32_t patch_size = 0;
  int32_t merge_size = 0;
  size_t bytes = 0;  // of the whole block

  int64_t num_patches() const { return int64_t{across.out / patch_size} * (down.out / patch_size); }
  int64_t patch_values() const { return int64_t{3} * patch_size * patch_size; }
  // What lies between the two passes and what comes out of the second, where there are passes.
  size_t middle_bytes() const {
    if (!across.resamples() || !down.resamples()) return 0;
    const auto width = static_cast<size_t>(down_first ? across.in : across.out);
    const auto height = static_cast<size_t>(down_first ? down.out : down.in);
    return width * height * 3;
  }
  size_t resized_bytes() const {
    const bool same = !across.resamples() && !down.resamples();
    return same ? 0 : static_cast<size_t>(across.out) * static_cast<size_t>(down.out) * 3;
  }
};

// What the tower is given: finished patches, or a block to make them of.
struct PixelSource {
  PixelSource(const void* patches) : data(patches) {}  // NOLINT: implicit by design
  PixelSource(const void* block_data, const PictureBlock* picture) : data(block_data), block(picture) {}

  const void* data;
  const PictureBlock* block = nullptr;
};

}  // namespace glimpse
