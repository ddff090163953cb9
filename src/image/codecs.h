#pragma once

// The three formats behind read_header and decode (private to this folder). Each read_x_header walks the file's
// structure and fails on a cut one; each decode_x is called with a header that passed it and the bounds, and writes the
// stored picture, not yet turned upright, into `out`.

#include <utility>

#include "base/result.h"
#include "image/bytes.h"
#include "image/header.h"
#include "image/rgb_image.h"

namespace glimpse {

Result<ImageHeader> read_jpeg_header(Bytes file);
Result<ImageHeader> read_png_header(Bytes file);
Result<ImageHeader> read_webp_header(Bytes file);

Status decode_jpeg(Bytes file, const ImageHeader& header, RgbImage& out);
Status decode_png(Bytes file, const ImageHeader& header, RgbImage& out);
Status decode_webp(Bytes file, const ImageHeader& header, RgbImage& out);

// Fills in the upright size from the stored one.
inline ImageHeader make_header(ImageType type, int stored_width, int stored_height, int orientation) {
  ImageHeader header{type, stored_width, stored_height, orientation};
  if (header.is_transposed()) std::swap(header.width, header.height);
  return header;
}

}  // namespace glimpse
