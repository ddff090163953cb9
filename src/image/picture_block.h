#pragma once

// Decoding into a block that a device resizes and cuts (tensor/picture_block.h).

#include "image/preprocess.h"
#include "tensor/picture_block.h"

namespace glimpse {

// Larger pictures are resized and cut by the host: a device keeps room for a block of the largest.
constexpr int64_t kMaxBlockPixels = int64_t{16} << 20;

// Whether a picture goes to a device that cuts pictures as a block.
inline bool fits_block(const ImagePlan& plan) {
  return int64_t{plan.header.width} * plan.header.height <= kMaxBlockPixels;
}

// How the picture's block is laid out; prepares the tables in `scratch`.
PictureBlock plan_block(const ImagePlan& plan, const ImageOptions& options, ImageScratch& scratch);

// Decodes into `destination`, block.bytes long and 64-byte aligned (CHECK), and writes the tables behind the picture;
// plan and block are of this picture, and `scratch` that which plan_block prepared. Returns when decoding ended, in
// nanoseconds after the call. Errors: those of decode; `scratch` stays usable.
Result<int64_t> fill_block(std::span<const std::byte> encoded, const ImagePlan& plan, const PictureBlock& block,
                           const ImageOptions& options, ImageScratch& scratch, std::span<std::byte> destination);

}  // namespace glimpse
