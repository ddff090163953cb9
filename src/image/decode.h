#pragma once

// Encoded picture to upright RGB pixels, equal to what
//   PIL.ImageOps.exif_transpose(PIL.Image.open(file)).convert("RGB")
// gives (transformers' load_image): alpha is dropped, never blended; palettes and grey expanded; 16-bit colour keeps
// its high byte while 16-bit grey is clamped to 255 (Pillow's "I;16"); CMYK follows Adobe's inverted polarity.
// docs/images.md lists what is accepted.

#include <cstddef>
#include <span>

#include "base/result.h"
#include "image/header.h"
#include "image/options.h"
#include "image/rgb_image.h"

namespace glimpse {

// Kept between pictures so that a warm decode allocates nothing big.
struct DecodeScratch {
  RgbImage stored;  // the picture before it is turned upright, when it must be turned
};

// Checks the header and the bounds of `options`, then decodes into `out` (its buffer is reused). A cut or damaged file
// is an error, never a partly grey picture. Errors: those of read_header and check_bounds; kInvalidData with the
// codec's reason; kResource. After an error `out` holds unspecified pixels.
Status decode(std::span<const std::byte> encoded, const ImageOptions& options, DecodeScratch& scratch, RgbImage& out);
Status decode(std::span<const std::byte> encoded, const ImageOptions& options, RgbImage& out);

// The same for a caller that has read the header already.
Status decode(std::span<const std::byte> encoded, const ImageHeader& header, const ImageOptions& options,
              DecodeScratch& scratch, RgbImage& out);

}  // namespace glimpse
