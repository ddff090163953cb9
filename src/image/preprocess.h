#pragma once

// The whole way from an encoded picture to the vision tower's input.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "image/decode.h"
#include "image/options.h"
#include "image/parallel.h"
#include "image/patchify.h"
#include "image/resize.h"
#include "image/smart_resize.h"

namespace glimpse {

struct PictureBlock;

// How the picture will be cut, known from its header alone: enough to count tokens and reserve memory before decoding.
struct ImagePlan {
  ImageHeader header;
  ImageSize resized;
  PatchGrid grid;
};

// Errors: those of read_header, check_bounds and smart_resize; with do_resize off, kInvalidData when a side is not a
// multiple of options.factor().
Result<ImagePlan> plan_image(std::span<const std::byte> encoded, const ImageOptions& options, PatchFormat format);

// Every buffer the way needs, kept from picture to picture: when sizes repeat, a warm run allocates nothing of the
// picture's size beyond what the codecs take. One per thread.
class ImageScratch {
 public:
  // The resized picture of the last preprocess.
  const RgbImage& resized() const { return *resized_; }

 private:
  friend struct ImagePipeline;
  friend PictureBlock plan_block(const ImagePlan&, const ImageOptions&, ImageScratch&);
  friend Result<int64_t> fill_block(std::span<const std::byte>, const ImagePlan&, const PictureBlock&,
                                    const ImageOptions&, ImageScratch&, std::span<std::byte>);
  DecodeScratch decode_;
  RgbImage decoded_;
  RgbImage resize_target_;
  const RgbImage* resized_ = &resize_target_;
  ResizeScratch resize_;
  std::unique_ptr<std::byte[]> values_;
  size_t values_bytes_ = 0;
};

struct PreprocessedImage {
  ImagePlan plan;
  // [num_patches, patch_dim] in format.dtype; in the destination, or in the scratch until its next use.
  std::span<const std::byte> pixel_values;
  int64_t decode_ns = 0;  // header, decode, turning upright
  int64_t resize_ns = 0;
  int64_t patchify_ns = 0;

  std::span<const float> as_float32() const {
    return {reinterpret_cast<const float*>(pixel_values.data()), pixel_values.size() / sizeof(float)};
  }
};

// Decodes, resizes and cuts one picture. Values go to `destination` when it is given: at least plan.grid.size_bytes
// long (else kInvalidArgument) and aligned to the dtype. The steps run one after another on the calling thread; resize
// and patchify split their rows over `parallel`. Errors: those of plan_image and decode; `scratch` stays usable.
Result<PreprocessedImage> preprocess(std::span<const std::byte> encoded, const ImageOptions& options,
                                     PatchFormat format, ImageScratch& scratch, std::span<std::byte> destination = {},
                                     const ParallelFor& parallel = {});

}  // namespace glimpse
