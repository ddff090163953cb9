#include <turbojpeg.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <string_view>

#include "image/codecs.h"
#include "image/exif.h"

namespace glimpse {

namespace {

// A picture has at most a few dozen scans; thousands of empty ones are an attack on time.
constexpr int kMaxScans = 100;

Error broken(std::string_view reason) {
  return {ErrorCode::kInvalidData, "broken JPEG: " + std::string(reason)};
}

Error cut_short() {
  return broken("the file is cut short");
}

struct JpegFrame {
  int width = 0;
  int height = 0;
  int components = 0;
  uint32_t marker = 0;   // SOF0..SOF15
  size_t scan_data = 0;  // where the first scan's header ends
  Bytes exif;
  Bytes xmp;
};

bool is_frame_marker(uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

bool has_no_length(uint32_t marker) {
  return marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8);
}

Status read_frame_header(uint32_t marker, Bytes body, JpegFrame& frame) {
  if (body.size() < 6) return broken("frame header too short");
  const uint32_t bits = byte_at(body, 0);
  if (marker != 0xC0 && marker != 0xC1 && marker != 0xC2 && marker != 0xC9 && marker != 0xCA) {
    return Error{ErrorCode::kUnsupported, "lossless or hierarchical JPEG is not supported"};
  }
  if (bits != 8) {
    return Error{ErrorCode::kUnsupported, "JPEG with " + std::to_string(bits) + " bits per sample is not supported"};
  }
  frame.marker = marker;
  frame.height = static_cast<int>(big16(body, 1));
  frame.width = static_cast<int>(big16(body, 3));
  frame.components = static_cast<int>(byte_at(body, 5));
  if (frame.width == 0 || frame.height == 0) return broken("the header says 0 pixels");
  if (frame.components != 1 && frame.components != 3 && frame.components != 4) {
    return Error{ErrorCode::kUnsupported,
                 "JPEG with " + std::to_string(frame.components) + " components is not supported"};
  }
  return {};
}

// The markers up to the first scan.
Result<JpegFrame> read_frame(Bytes file) {
  using namespace std::string_view_literals;
  JpegFrame frame;
  size_t at = 2;
  while (true) {
    while (at < file.size() && byte_at(file, at) != 0xFF) ++at;  // junk between markers is legal, as in libjpeg
    while (at < file.size() && byte_at(file, at) == 0xFF) ++at;
    if (at >= file.size()) return cut_short();
    const uint32_t marker = byte_at(file, at++);
    if (marker == 0 || has_no_length(marker)) continue;
    if (marker == 0xD9) return broken("it ends before any picture data");
    if (file.size() - at < 2) return cut_short();
    const size_t length = big16(file, at);
    if (length < 2) return broken("a marker's length is below 2");
    if (length > file.size() - at) return cut_short();
    const Bytes body = file.subspan(at + 2, length - 2);
    at += length;
    if (is_frame_marker(marker)) {
      if (frame.marker != 0) return broken("it has two frame headers");
      RETURN_IF_ERROR(read_frame_header(marker, body, frame));
    } else if (marker == 0xE1 && starts_with(body, "Exif\0\0"sv)) {
      if (frame.exif.empty()) frame.exif = body;
    } else if (marker == 0xE1 && starts_with(body, "http://ns.adobe.com/xap/1.0/\0"sv)) {
      frame.xmp = body;
    } else if (marker == 0xDA) {
      if (frame.marker == 0) return broken("a scan comes before the frame header");
      frame.scan_data = at;
      return frame;
    }
  }
}

// The end marker is there, the scans are not absurdly many, and the bytes could hold the picture: each 8x8 block takes
// a bit at the very least (an arithmetic coder takes less). All of it before memory is asked for.
Status check_scans(Bytes file, const JpegFrame& frame) {
  const std::string_view data = as_text(file.subspan(frame.scan_data));
  if (data.rfind("\xff\xd9") == std::string_view::npos) return cut_short();
  const int64_t blocks = ((frame.width + 7) / 8) * int64_t{(frame.height + 7) / 8};
  if (frame.marker <= 0xC2 && blocks / 8 > static_cast<int64_t>(data.size())) {
    return broken("its " + std::to_string(data.size()) + " bytes of data cannot hold " + std::to_string(frame.width) +
                  "x" + std::to_string(frame.height) + " pixels");
  }
  if (frame.marker == 0xC2 || frame.marker == 0xCA) {
    int scans = 1;
    for (size_t at = data.find("\xff\xda"); at != std::string_view::npos; at = data.find("\xff\xda", at + 2)) ++scans;
    if (scans > kMaxScans) return broken("it has more than " + std::to_string(kMaxScans) + " scans");
  }
  return {};
}

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Decoder = std::unique_ptr<void, Destroy>;

// The codec's message is one line in practice; a control character would break our promise.
std::string reason_of(const Decoder& decoder) {
  std::string reason = tjGetErrorStr2(decoder.get());
  std::replace_if(reason.begin(), reason.end(), [](char c) { return static_cast<unsigned char>(c) < 32; }, ' ');
  return reason;
}

// First stops at any complaint. "Extraneous bytes" alone are harmless and common in old cameras' files, so Pillow
// accepts them and so do we, in a second run; everything else (premature end, bad code) would leave grey blocks.
Status run_decoder(Bytes file, int width, int height, TJPF format, uint8_t* out) {
  const Decoder decoder(tjInitDecompress());
  if (decoder == nullptr) return Error{ErrorCode::kResource, "no memory for the JPEG decoder"};
  const auto* bytes = reinterpret_cast<const unsigned char*>(file.data());
  const auto run = [&](int flags) {
    return tjDecompress2(decoder.get(), bytes, static_cast<unsigned long>(file.size()), out, width, 0, height, format,
                         flags | TJFLAG_ACCURATEDCT);
  };
  if (run(TJFLAG_STOPONWARNING) == 0) return {};
  std::string reason = reason_of(decoder);
  if (reason.find("extraneous bytes") != std::string::npos) {
    if (run(0) == 0 || (tjGetErrorCode(decoder.get()) == TJERR_WARNING &&
                        reason_of(decoder).find("extraneous bytes") != std::string::npos)) {
      return {};
    }
    reason = reason_of(decoder);
  }
  if (reason.find("remature end") != std::string::npos) return cut_short();
  return broken(reason);
}

// Pillow's cmyk2rgb after its "CMYK;I": JPEG files hold inverted inks (Adobe's way), whether they say so or not.
void cmyk_to_rgb(const uint8_t* cmyk, size_t pixels, uint8_t* rgb) {
  for (size_t i = 0; i < pixels; ++i, cmyk += 4, rgb += 3) {
    const int white = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * white + 128;
      rgb[c] = static_cast<uint8_t>(std::clamp(white - ((product + (product >> 8)) >> 8), 0, 255));
    }
  }
}

}  // namespace

Result<ImageHeader> read_jpeg_header(Bytes file) {
  ASSIGN_OR_RETURN(const JpegFrame frame, read_frame(file));
  RETURN_IF_ERROR(check_scans(file, frame));
  return make_header(ImageType::kJpeg, frame.width, frame.height, orientation_of(frame.exif, frame.xmp));
}

Status decode_jpeg(Bytes file, const ImageHeader& header, RgbImage& out) {
  const int width = header.stored_width();
  const int height = header.stored_height();
  RETURN_IF_ERROR(out.reset(width, height));
  ASSIGN_OR_RETURN(const JpegFrame frame, read_frame(file));
  if (frame.components != 4) return run_decoder(file, width, height, TJPF_RGB, out.data());
  const size_t pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  const std::unique_ptr<uint8_t[]> cmyk(new (std::nothrow) uint8_t[pixels * 4]);
  if (cmyk == nullptr) return Error{ErrorCode::kResource, "no memory for a CMYK picture"};
  RETURN_IF_ERROR(run_decoder(file, width, height, TJPF_CMYK, cmyk.get()));
  cmyk_to_rgb(cmyk.get(), pixels, out.data());
  return {};
}

}  // namespace glimpse
