#include <spng.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "image/codecs.h"
#include "image/exif.h"

namespace glimpse {

namespace {

constexpr size_t kSignatureBytes = 8;
// Beside the pixels spng keeps text and colour profiles in memory; nobody's are larger than this.
constexpr size_t kMaxChunkBytes = size_t{64} << 20;
// Deflate cannot shrink by more than this.
constexpr size_t kMaxDeflateRatio = 1032;

Error broken(std::string_view reason) {
  return {ErrorCode::kInvalidData, "broken PNG: " + std::string(reason)};
}

struct PngFrame {
  int width = 0;
  int height = 0;
  int bit_depth = 0;
  int color_type = 0;
  bool interlaced = false;
  size_t data_bytes = 0;  // all IDAT chunks together
  Bytes exif;
  Bytes xmp;

  int channels() const {
    constexpr std::array<int, 7> kChannels{1, 0, 3, 1, 2, 0, 4};
    return kChannels[static_cast<size_t>(color_type)];
  }
  size_t row_bytes() const {
    return (static_cast<size_t>(width) * static_cast<size_t>(channels() * bit_depth) + 7) / 8;
  }
};

Status read_image_header(Bytes body, PngFrame& frame) {
  if (body.size() != 13) return broken("the header chunk has the wrong length");
  const uint32_t width = big32(body, 0);
  const uint32_t height = big32(body, 4);
  frame.bit_depth = static_cast<int>(byte_at(body, 8));
  frame.color_type = static_cast<int>(byte_at(body, 9));
  frame.interlaced = byte_at(body, 12) != 0;
  if (width == 0 || height == 0) return broken("the header says 0 pixels");
  // Also keeps width * height within int64.
  constexpr uint32_t kMaxSide = 0x7fffffff;
  if (width > kMaxSide || height > kMaxSide) return broken("a side is longer than PNG allows");
  frame.width = static_cast<int>(width);
  frame.height = static_cast<int>(height);
  constexpr std::array<uint32_t, 7> kDepths{1 | 2 | 4 | 8 | 16, 0, 8 | 16, 1 | 2 | 4 | 8, 8 | 16, 0, 8 | 16};
  const bool known_type = frame.color_type < 7 && kDepths[static_cast<size_t>(frame.color_type)] != 0;
  const bool power_of_two = (frame.bit_depth & (frame.bit_depth - 1)) == 0;
  if (!known_type || !power_of_two ||
      (kDepths[static_cast<size_t>(frame.color_type)] & static_cast<uint32_t>(frame.bit_depth)) == 0) {
    return broken("colour type " + std::to_string(frame.color_type) + " with " + std::to_string(frame.bit_depth) +
                  " bits does not exist");
  }
  return {};
}

// An uncompressed iTXt chunk with XMP: keyword, two flag bytes, two empty strings, the packet.
Bytes xmp_of(Bytes body) {
  using namespace std::string_view_literals;
  constexpr auto kStart = "XML:com.adobe.xmp\0\0"sv;
  return starts_with(body, kStart) ? body.subspan(kStart.size()) : Bytes{};
}

// Walks all chunks; spng checks their checksums later.
Result<PngFrame> read_frame(Bytes file) {
  PngFrame frame;
  size_t at = kSignatureBytes;
  while (true) {
    if (file.size() - at < 12) return broken("the file is cut short");
    const size_t length = big32(file, at);
    const std::string_view type = as_text(file.subspan(at + 4, 4));
    if (length > file.size() - at - 12) return broken("the file is cut short");
    const Bytes body = file.subspan(at + 8, length);
    if (at == kSignatureBytes) {
      if (type != "IHDR") return broken("it does not begin with the header chunk");
      RETURN_IF_ERROR(read_image_header(body, frame));
    } else if (type == "IDAT") {
      frame.data_bytes += length;
    } else if (type == "eXIf") {
      frame.exif = body;
    } else if (type == "iTXt") {
      if (const Bytes xmp = xmp_of(body); !xmp.empty()) frame.xmp = xmp;
    } else if (type == "IEND") {
      break;
    }
    at += 12 + length;
  }
  const size_t pixel_bytes = frame.row_bytes() * static_cast<size_t>(frame.height);
  if (pixel_bytes / kMaxDeflateRatio > frame.data_bytes) {
    return broken("its " + std::to_string(frame.data_bytes) + " bytes of data cannot hold " +
                  std::to_string(frame.width) + "x" + std::to_string(frame.height) + " pixels");
  }
  return frame;
}

using Palette = std::array<std::array<uint8_t, 3>, 256>;

// One row as the file stores it (samples big-endian, packed) to RGB the way Pillow's convert("RGB") ends up: alpha
// dropped, 16-bit colour cut to its high byte, 16-bit grey clamped to 255, indices past the palette black.
void convert_row(const PngFrame& frame, const Palette& palette, const uint8_t* raw, uint8_t* rgb) {
  const auto width = static_cast<size_t>(frame.width);
  const size_t sample_bytes = frame.bit_depth == 16 ? 2 : 1;
  const size_t pixel_bytes = sample_bytes * static_cast<size_t>(frame.channels());
  const auto put_grey = [&](size_t x, uint8_t value) { rgb[3 * x] = rgb[3 * x + 1] = rgb[3 * x + 2] = value; };
  switch (frame.color_type) {
    case SPNG_COLOR_TYPE_TRUECOLOR:
    case SPNG_COLOR_TYPE_TRUECOLOR_ALPHA:
      for (size_t x = 0; x < width; ++x) {
        for (size_t c = 0; c < 3; ++c) rgb[3 * x + c] = raw[x * pixel_bytes + c * sample_bytes];
      }
      return;
    case SPNG_COLOR_TYPE_GRAYSCALE_ALPHA:
      for (size_t x = 0; x < width; ++x) put_grey(x, raw[x * pixel_bytes]);
      return;
    default:
      break;
  }
  if (frame.bit_depth == 16) {
    for (size_t x = 0; x < width; ++x) put_grey(x, raw[2 * x] != 0 ? uint8_t{255} : raw[2 * x + 1]);
    return;
  }
  const auto bits = static_cast<size_t>(frame.bit_depth);
  const unsigned mask = (1U << bits) - 1;
  for (size_t x = 0; x < width; ++x) {
    const size_t bit = x * bits;
    const unsigned sample = (static_cast<unsigned>(raw[bit / 8]) >> (8 - bits - bit % 8)) & mask;
    if (frame.color_type == SPNG_COLOR_TYPE_INDEXED) {
      std::copy_n(palette[sample].begin(), 3, rgb + 3 * x);
    } else {
      put_grey(x, static_cast<uint8_t>(sample * 255 / mask));
    }
  }
}

struct FreeContext {
  void operator()(spng_ctx* context) const { spng_ctx_free(context); }
};
using Context = std::unique_ptr<spng_ctx, FreeContext>;

Error codec_error(int code) {
  if (code == SPNG_EMEM) return {ErrorCode::kResource, "no memory for the PNG decoder"};
  return broken(spng_strerror(code));
}

Result<Palette> read_palette(spng_ctx* context, const PngFrame& frame) {
  Palette palette{};
  if (frame.color_type != SPNG_COLOR_TYPE_INDEXED) return palette;
  spng_plte plte{};
  if (const int code = spng_get_plte(context, &plte); code != 0) return codec_error(code);
  for (size_t i = 0; i < std::min<size_t>(plte.n_entries, palette.size()); ++i) {
    palette[i] = {plte.entries[i].red, plte.entries[i].green, plte.entries[i].blue};
  }
  return palette;
}

// Row by row, so that the row is still in the cache when it is converted.
Status decode_rows(spng_ctx* context, const PngFrame& frame, const Palette& palette, RgbImage& out) {
  if (const int code = spng_decode_image(context, nullptr, 0, SPNG_FMT_RAW, SPNG_DECODE_PROGRESSIVE); code != 0) {
    return codec_error(code);
  }
  const size_t row_bytes = frame.row_bytes();
  const std::unique_ptr<uint8_t[]> row(new (std::nothrow) uint8_t[row_bytes]);
  if (row == nullptr) return Error{ErrorCode::kResource, "no memory for a PNG row"};
  for (int y = 0; y < frame.height; ++y) {
    const int code = spng_decode_row(context, row.get(), row_bytes);
    const bool last = y == frame.height - 1;
    if (code != 0 && !(last && code == SPNG_EOI)) return codec_error(code);
    convert_row(frame, palette, row.get(), out.row(y));
  }
  return {};
}

// The whole stored picture at once: rows of an interlaced file are complete only at the end.
Status decode_interlaced(spng_ctx* context, const PngFrame& frame, const Palette& palette, RgbImage& out) {
  const size_t row_bytes = frame.row_bytes();
  const size_t bytes = row_bytes * static_cast<size_t>(frame.height);
  // Zeroed: rows of packed pixels are filled bit by bit.
  const std::unique_ptr<uint8_t[]> raw(new (std::nothrow) uint8_t[bytes]());
  if (raw == nullptr) return Error{ErrorCode::kResource, "no memory for an interlaced PNG"};
  if (const int code = spng_decode_image(context, raw.get(), bytes, SPNG_FMT_RAW, 0); code != 0)
    return codec_error(code);
  for (int y = 0; y < frame.height; ++y) {
    convert_row(frame, palette, raw.get() + row_bytes * static_cast<size_t>(y), out.row(y));
  }
  return {};
}

}  // namespace

Result<ImageHeader> read_png_header(Bytes file) {
  ASSIGN_OR_RETURN(const PngFrame frame, read_frame(file));
  return make_header(ImageType::kPng, frame.width, frame.height, orientation_of(frame.exif, frame.xmp));
}

Status decode_png(Bytes file, const ImageHeader& header, RgbImage& out) {
  ASSIGN_OR_RETURN(const PngFrame frame, read_frame(file));
  RETURN_IF_ERROR(out.reset(header.stored_width(), header.stored_height()));
  const Context context(spng_ctx_new(0));
  if (context == nullptr) return codec_error(SPNG_EMEM);
  if (const int code = spng_set_chunk_limits(context.get(), kMaxChunkBytes, kMaxChunkBytes); code != 0) {
    return codec_error(code);
  }
  if (const int code = spng_set_png_buffer(context.get(), file.data(), file.size()); code != 0)
    return codec_error(code);
  ASSIGN_OR_RETURN(const Palette palette, read_palette(context.get(), frame));
  if (frame.color_type == SPNG_COLOR_TYPE_TRUECOLOR && frame.bit_depth == 8) {
    const int code = spng_decode_image(context.get(), out.data(), out.size_bytes(), SPNG_FMT_RAW, 0);
    return code == 0 ? Status() : codec_error(code);
  }
  return frame.interlaced ? decode_interlaced(context.get(), frame, palette, out)
                          : decode_rows(context.get(), frame, palette, out);
}

}  // namespace glimpse
