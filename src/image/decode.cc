#include "image/decode.h"

#include "base/check.h"
#include "image/codecs.h"
#include "image/orient.h"

namespace glimpse {

namespace {

Status decode_stored(std::span<const std::byte> encoded, const ImageHeader& header, RgbImage& out) {
  switch (header.type) {
    case ImageType::kJpeg:
      return decode_jpeg(encoded, header, out);
    case ImageType::kPng:
      return decode_png(encoded, header, out);
    case ImageType::kWebp:
      return decode_webp(encoded, header, out);
  }
  CHECK(false);
}

}  // namespace

Status decode(std::span<const std::byte> encoded, const ImageOptions& options, DecodeScratch& scratch, RgbImage& out) {
  ASSIGN_OR_RETURN(const ImageHeader header, read_header(encoded));
  return decode(encoded, header, options, scratch, out);
}

Status decode(std::span<const std::byte> encoded, const ImageOptions& options, RgbImage& out) {
  DecodeScratch scratch;
  return decode(encoded, options, scratch, out);
}

Status decode(std::span<const std::byte> encoded, const ImageHeader& header, const ImageOptions& options,
              DecodeScratch& scratch, RgbImage& out) {
  RETURN_IF_ERROR(check_bounds(header, encoded.size(), options));
  if (header.orientation == 1) return decode_stored(encoded, header, out);
  RETURN_IF_ERROR(decode_stored(encoded, header, scratch.stored));
  return turn_upright(scratch.stored, header.orientation, out);
}

}  // namespace glimpse
