#pragma once

// The size a picture is resized to: the family's smart_resize.

#include <cstdint>

#include "base/result.h"
#include "image/options.h"

namespace glimpse {

struct ImageSize {
  int height = 0;
  int width = 0;
  bool operator==(const ImageSize&) const = default;
};

// Sides that are multiples of options.factor(), about the picture's proportions, with frames * height * width between
// options.min_pixels and max_pixels; a still counts as temporal_patch_size frames. Double precision, in the reference's
// order of operations (transformers glm4v/image_processing_glm4v.py, smart_resize). Sides must be positive (CHECK).
// Errors: kInvalidData when one side is over 200 times the other (after the shorter was scaled up to one token).
Result<ImageSize> smart_resize(int height, int width, const ImageOptions& options);

}  // namespace glimpse
