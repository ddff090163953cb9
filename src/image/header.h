#pragma once

// What a picture file says about itself, read without decoding or allocating anything big.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "image/options.h"

namespace glimpse {

enum class ImageType { kJpeg, kPng, kWebp };

std::string_view image_type_name(ImageType type);

// Width and height are those of the upright picture, after `orientation` has been applied.
struct ImageHeader {
  ImageType type = ImageType::kJpeg;
  int width = 0;
  int height = 0;
  int orientation = 1;  // EXIF tag 0x0112, 1..8; how the stored rows must be turned

  bool operator==(const ImageHeader&) const = default;

  // Orientations 5 to 8 swap the axes.
  bool is_transposed() const { return orientation >= 5; }
  int stored_width() const { return is_transposed() ? height : width; }
  int stored_height() const { return is_transposed() ? width : height; }
};

// Reads type, size and orientation; walks the file's structure, so a PNG that lacks chunks or a JPEG without an end
// marker already fails here. Errors, one line each: kInvalidData (empty, cut, broken, no picture), kUnsupported
// (GIF, BMP, TIFF, SVG, AVIF, animated WebP, 12-bit and lossless JPEG).
Result<ImageHeader> read_header(std::span<const std::byte> encoded);

// The bounds of `options` on a picture: encoded bytes and pixels. Errors: kTooLarge, with the numbers.
Status check_bounds(const ImageHeader& header, size_t encoded_bytes, const ImageOptions& options);

}  // namespace glimpse
