#include "image/header.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <string>

#include "image/codecs.h"

namespace glimpse {

namespace {

Error unsupported(std::string_view what) {
  return {ErrorCode::kUnsupported, std::string(what) + " pictures are not supported; JPEG, PNG and WebP are"};
}

// Names what people send by mistake; anything else is "not a picture".
Error unknown_format(Bytes file) {
  using namespace std::string_view_literals;
  if (starts_with(file, "GIF87a") || starts_with(file, "GIF89a")) return unsupported("GIF");
  if (starts_with(file, "BM") && file.size() > 14) return unsupported("BMP");
  if (starts_with(file, "II*\0"sv) || starts_with(file, "MM\0*"sv)) return unsupported("TIFF");
  if (file.size() > 12 && starts_with(file.subspan(4), "ftyp")) return unsupported("AVIF, HEIC and other ISO media");
  std::string_view text = as_text(file.first(std::min<size_t>(file.size(), 512)));
  while (!text.empty() && (std::isspace(static_cast<unsigned char>(text[0])) != 0)) text.remove_prefix(1);
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  if (text.starts_with("<")) {
    if (text.find("<svg") != std::string_view::npos) return unsupported("SVG");
    return {ErrorCode::kInvalidData, "not a picture but HTML or XML text"};
  }
  return {ErrorCode::kInvalidData, "not a picture: neither JPEG, PNG nor WebP"};
}

}  // namespace

std::string_view image_type_name(ImageType type) {
  constexpr std::array<std::string_view, 3> kNames{"JPEG", "PNG", "WebP"};
  return kNames[static_cast<size_t>(type)];
}

Result<ImageHeader> read_header(std::span<const std::byte> encoded) {
  using namespace std::string_view_literals;
  if (encoded.empty()) return Error{ErrorCode::kInvalidData, "the picture is empty (0 bytes)"};
  if (starts_with(encoded, "\xff\xd8\xff"sv)) return read_jpeg_header(encoded);
  if (starts_with(encoded, "\x89PNG\r\n\x1a\n"sv)) return read_png_header(encoded);
  if (starts_with(encoded, "RIFF") && encoded.size() >= 12 && starts_with(encoded.subspan(8), "WEBP")) {
    return read_webp_header(encoded);
  }
  return unknown_format(encoded);
}

Status check_bounds(const ImageHeader& header, size_t encoded_bytes, const ImageOptions& options) {
  if (encoded_bytes > options.max_encoded_bytes) {
    return Error{ErrorCode::kTooLarge, "the picture file has " + std::to_string(encoded_bytes) + " bytes; at most " +
                                           std::to_string(options.max_encoded_bytes) + " are accepted"};
  }
  const int64_t pixels = int64_t{header.width} * header.height;
  if (pixels > options.max_source_pixels) {
    return Error{ErrorCode::kTooLarge, "the picture is " + std::to_string(header.width) + "x" +
                                           std::to_string(header.height) + " = " + std::to_string(pixels) +
                                           " pixels; at most " + std::to_string(options.max_source_pixels) +
                                           " are accepted"};
  }
  return {};
}

}  // namespace glimpse
