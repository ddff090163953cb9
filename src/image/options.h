#pragma once

// What the checkpoint's preprocessor_config.json says about pictures, and the bounds on what we accept.

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/json.h"
#include "base/result.h"

namespace glimpse {

// The two references of the family differ by at most a grey level on some pixels, and in the rounding of the
// normalisation: transformers' torchvision back end (the default since v5, and every "...Fast" name), and its PIL one.
enum class Resampler { kTorchvision, kPillow };

// Field names are the checkpoint's, except min_pixels / max_pixels: the files call them size.shortest_edge and
// size.longest_edge although both are products frames * height * width (a still counts as two frames).
struct ImageOptions {
  int64_t min_pixels = 112 * 112;
  int64_t max_pixels = 28 * 28 * 15000;
  int patch_size = 14;
  int temporal_patch_size = 2;
  int merge_size = 2;
  std::array<float, 3> image_mean{0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> image_std{0.26862954F, 0.26130258F, 0.27577711F};
  double rescale_factor = 1.0 / 255.0;
  bool do_resize = true;
  bool do_rescale = true;
  bool do_normalize = true;
  Resampler resampler = Resampler::kTorchvision;

  // Bounds of ours, not of the checkpoint. Pillow refuses above the same number of pixels.
  int64_t max_source_pixels = 178'956'970;
  size_t max_encoded_bytes = size_t{128} << 20;

  bool operator==(const ImageOptions&) const = default;

  // Side of the square that becomes one token, in pixels.
  int factor() const { return patch_size * merge_size; }
};

// Reads the object of preprocessor_config.json. Missing fields keep the defaults above, which are those of
// transformers' Glm4vImageProcessor. `size` wins over the legacy min_pixels / max_pixels. Errors name the field:
// kInvalidData for a wrong type or a value out of range, kUnsupported for a processor or filter that is not this
// family's.
Result<ImageOptions> parse_image_options(const json::object& preprocessor_config);

}  // namespace glimpse
