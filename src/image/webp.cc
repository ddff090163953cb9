#include <webp/decode.h>

#include <string>
#include <string_view>

#include "image/codecs.h"
#include "image/exif.h"

namespace glimpse {

namespace {

Error broken(std::string_view reason) {
  return {ErrorCode::kInvalidData, "broken WebP: " + std::string(reason)};
}

Error codec_error(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OUT_OF_MEMORY:
      return {ErrorCode::kResource, "no memory for the WebP decoder"};
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return broken("the file is cut short");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return broken("it uses a feature that does not exist");
    default:
      return broken("its bitstream is invalid");
  }
}

struct WebpMetadata {
  Bytes exif;
  Bytes xmp;
};

// Walks the RIFF chunks.
Result<WebpMetadata> read_chunks(Bytes file) {
  const size_t riff_bytes = size_t{little32(file, 4)} + 8;
  if (riff_bytes > file.size()) return broken("the file is cut short");
  WebpMetadata metadata;
  size_t at = 12;
  while (at + 8 <= riff_bytes) {
    const std::string_view type = as_text(file.subspan(at, 4));
    const size_t length = little32(file, at + 4);
    if (length > riff_bytes - at - 8) return broken("the file is cut short");
    const Bytes body = file.subspan(at + 8, length);
    if (type == "EXIF") metadata.exif = body;
    if (type == "XMP ") metadata.xmp = body;
    at += 8 + length + length % 2;
  }
  return metadata;
}

const uint8_t* data_of(Bytes file) {
  return reinterpret_cast<const uint8_t*>(file.data());
}

}  // namespace

Result<ImageHeader> read_webp_header(Bytes file) {
  ASSIGN_OR_RETURN(const WebpMetadata metadata, read_chunks(file));
  WebPBitstreamFeatures features;
  if (const VP8StatusCode code = WebPGetFeatures(data_of(file), file.size(), &features); code != VP8_STATUS_OK) {
    return codec_error(code);
  }
  if (features.has_animation != 0) {
    return Error{ErrorCode::kUnsupported, "animated WebP is not supported; send one frame"};
  }
  if (features.width <= 0 || features.height <= 0) return broken("the header says 0 pixels");
  return make_header(ImageType::kWebp, features.width, features.height, orientation_of(metadata.exif, metadata.xmp));
}

Status decode_webp(Bytes file, const ImageHeader& header, RgbImage& out) {
  RETURN_IF_ERROR(out.reset(header.stored_width(), header.stored_height()));
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return broken("the decoder library is of another version");
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = out.data();
  config.output.u.RGBA.stride = static_cast<int>(out.stride());
  config.output.u.RGBA.size = out.size_bytes();
  const VP8StatusCode code = WebPDecode(data_of(file), file.size(), &config);
  WebPFreeDecBuffer(&config.output);
  return code == VP8_STATUS_OK ? Status() : codec_error(code);
}

}  // namespace glimpse
