// Files that lie, files cut anywhere, files that are something else: a one-line error, never a crash and never a partly
// grey picture. Runs under the sanitizers in the `dev` preset.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "image/decode.h"
#include "tests/image/golden.h"

namespace glimpse {
namespace {

using ByteVector = std::vector<std::byte>;

ByteVector bytes_of(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

void put_big32(ByteVector& bytes, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::byte>(value >> (24 - 8 * i));
}

void put_big16(ByteVector& bytes, size_t at, uint32_t value) {
  bytes[at] = static_cast<std::byte>(value >> 8);
  bytes[at + 1] = static_cast<std::byte>(value);
}

ByteVector golden(std::string_view name) {
  const auto encoded = Golden::get().picture(name).encoded;
  return {encoded.begin(), encoded.end()};
}

size_t find_bytes(const ByteVector& bytes, std::string_view pattern) {
  const ByteVector wanted = bytes_of(pattern);
  const auto at = std::search(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
  EXPECT_NE(at, bytes.end());
  return static_cast<size_t>(at - bytes.begin());
}

void set_jpeg_size(ByteVector& file, uint32_t height, uint32_t width, std::string_view frame_marker = "\xff\xc0") {
  const size_t frame = find_bytes(file, frame_marker);
  put_big16(file, frame + 5, height);
  put_big16(file, frame + 7, width);
}

// Decodes and returns the message, which must be one line; "" when the file was accepted.
std::string outcome(std::span<const std::byte> file, const ImageOptions& options = {}) {
  RgbImage image;
  const Status status = decode(file, options, image);
  if (status) return {};
  EXPECT_FALSE(status.error().message.empty());
  EXPECT_EQ(status.error().message.find('\n'), std::string::npos) << status.error().message;
  EXPECT_EQ(exit_code(status.error().code), 2) << status.error().message;
  return status.error().message;
}

TEST(BadInput, EveryCutIsAnError) {
  int cuts = 0;
  for (const GoldenPicture& picture : Golden::get().pictures()) {
    if (picture.name == "jpeg_trailing") continue;  // rubbish behind the end may be cut off
    // A page of its own, so that the sanitizer sees any read past the cut.
    for (size_t size = 0; size < picture.encoded.size(); size += 37, ++cuts) {
      const ByteVector cut(picture.encoded.begin(), picture.encoded.begin() + static_cast<ptrdiff_t>(size));
      EXPECT_NE(outcome(cut), "") << picture.name << " cut to " << size << " of " << picture.encoded.size();
    }
    for (size_t missing = 1; missing < 20; ++missing, ++cuts) {
      const ByteVector cut(picture.encoded.begin(), picture.encoded.end() - static_cast<ptrdiff_t>(missing));
      EXPECT_NE(outcome(cut), "") << picture.name << " without its last " << missing;
    }
  }
  EXPECT_GT(cuts, 2000);
}

TEST(BadInput, ACutJpegWithAnEndMarkerIsNotGreyFilled) {
  for (const char* name : {"jpeg_420_q90", "jpeg_444_progressive", "jpeg_grey", "jpeg_cmyk"}) {
    ByteVector file = golden(name);
    file.resize(file.size() * 3 / 4);
    file.push_back(std::byte{0xff});
    file.push_back(std::byte{0xd9});
    EXPECT_EQ(outcome(file), "broken JPEG: the file is cut short") << name;
  }
}

TEST(BadInput, FlippedBytesNeverCrash) {
  ImageOptions options;
  options.max_source_pixels = 1 << 20;  // a flipped size field is not what this test is about
  for (const GoldenPicture& picture : Golden::get().pictures()) {
    for (size_t at = splitmix(picture.encoded.size()) % 11; at < picture.encoded.size(); at += 11) {
      ByteVector file(picture.encoded.begin(), picture.encoded.end());
      file[at] ^= static_cast<std::byte>(1U << (at % 8));
      outcome(file, options);
      file[at] = std::byte{0xff};
      outcome(file, options);
    }
  }
}

TEST(BadInput, OtherFormatsAreNamed) {
  using namespace std::string_literals;
  const std::string others = " pictures are not supported; JPEG, PNG and WebP are";
  EXPECT_EQ(outcome({}), "the picture is empty (0 bytes)");
  EXPECT_EQ(outcome(bytes_of("GIF89a\1\0\1\0"s)), "GIF" + others);
  EXPECT_EQ(outcome(bytes_of("BM" + std::string(60, '\0'))), "BMP" + others);
  EXPECT_EQ(outcome(bytes_of("II*\0\x08\0\0\0"s)), "TIFF" + others);
  EXPECT_EQ(outcome(bytes_of("<svg xmlns='http://www.w3.org/2000/svg'/>")), "SVG" + others);
  EXPECT_EQ(outcome(bytes_of("<?xml version='1.0'?>\n<svg/>")), "SVG" + others);
  EXPECT_EQ(outcome(bytes_of("\0\0\0\x20"
                             "ftypavif\0\0\0\0"s)),
            "AVIF, HEIC and other ISO media" + others);
  EXPECT_EQ(outcome(bytes_of("  <!DOCTYPE html><html>404</html>")), "not a picture but HTML or XML text");
  EXPECT_EQ(outcome(bytes_of("x")), "not a picture: neither JPEG, PNG nor WebP");
  EXPECT_EQ(outcome(ByteVector(5000)), "not a picture: neither JPEG, PNG nor WebP");
}

TEST(BadInput, BombsAreRefusedByTheirHeaders) {
  ByteVector png = golden("png_1x1");
  put_big32(png, 16, 65535);
  put_big32(png, 20, 65535);
  const auto header = read_header(png);
  ASSERT_FALSE(header);
  EXPECT_NE(header.error().message.find("cannot hold 65535x65535 pixels"), std::string::npos);

  // With enough data to be believed it is the pixel bound that refuses.
  ImageOptions small;
  small.max_source_pixels = 100;
  EXPECT_EQ(outcome(golden("png_many_idat"), small), "the picture is 14x9 = 126 pixels; at most 100 are accepted");
  small = {};
  small.max_encoded_bytes = 100;
  EXPECT_NE(outcome(golden("png_many_idat"), small).find("at most 100 are accepted"), std::string::npos);

  ByteVector jpeg = golden("jpeg_420_q90");
  set_jpeg_size(jpeg, 65500, 65500);
  EXPECT_NE(outcome(jpeg).find("cannot hold 65500x65500 pixels"), std::string::npos);
  set_jpeg_size(jpeg, 0, 100);
  EXPECT_EQ(outcome(jpeg), "broken JPEG: the header says 0 pixels");
  // A lie that the data could just hold: found while decoding.
  set_jpeg_size(jpeg, 200, 200);
  EXPECT_EQ(outcome(jpeg), "broken JPEG: the file is cut short");

  ByteVector webp = golden("webp_lossless");
  webp[21] = webp[22] = webp[23] = std::byte{0xff};  // with the next line: 16384 x 16384
  webp[24] |= std::byte{0x0f};
  EXPECT_NE(outcome(webp).find("at most 178956970 are accepted"), std::string::npos);
}

TEST(BadInput, ManyScansAreRefused) {
  ByteVector file = golden("jpeg_444_progressive");
  const size_t end = file.size() - 2;
  ByteVector scan(file.begin() + static_cast<ptrdiff_t>(find_bytes(file, "\xff\xda")),
                  file.begin() + static_cast<ptrdiff_t>(end));
  for (int i = 0; i < 100; ++i) file.insert(file.begin() + static_cast<ptrdiff_t>(end), scan.begin(), scan.end());
  EXPECT_EQ(outcome(file), "broken JPEG: it has more than 100 scans");
}

TEST(BadInput, BrokenPngChunks) {
  ByteVector file = golden("png_type2_8bit");
  file[40] ^= std::byte{1};  // inside IDAT: its checksum no longer fits
  EXPECT_EQ(outcome(file).find("broken PNG: "), 0U);
  file = golden("png_type2_8bit");
  file[24] = std::byte{3};
  EXPECT_EQ(outcome(file), "broken PNG: colour type 2 with 3 bits does not exist");
  file = golden("png_type3_8bit");
  file[25] = std::byte{7};
  EXPECT_EQ(outcome(file), "broken PNG: colour type 7 with 8 bits does not exist");
  file = golden("png_type2_8bit");
  file[find_bytes(file, "IDAT")] = std::byte{'J'};  // an unknown critical chunk, and no data
  EXPECT_NE(outcome(file), "");
}

TEST(BadInput, UnsupportedJpegKinds) {
  ByteVector file = golden("jpeg_444_q90");
  const size_t frame = find_bytes(file, "\xff\xc0");
  file[frame + 4] = std::byte{12};
  EXPECT_EQ(outcome(file), "JPEG with 12 bits per sample is not supported");
  file[frame + 4] = std::byte{8};
  file[frame + 1] = std::byte{0xc3};
  EXPECT_EQ(outcome(file), "lossless or hierarchical JPEG is not supported");
  file[frame + 1] = std::byte{0xc0};
  file[frame + 9] = std::byte{2};
  EXPECT_EQ(outcome(file), "JPEG with 2 components is not supported");
}

TEST(BadInput, BrokenExifCountsAsUpright) {
  ByteVector file = golden("jpeg_exif_6");
  const size_t exif = find_bytes(file, "Exif");
  for (size_t i = 6; i < 30; ++i) {
    ByteVector damaged = file;
    damaged[exif + i] = std::byte{0xff};
    const auto header = read_header(damaged);
    ASSERT_TRUE(header) << i;
    EXPECT_TRUE(header->orientation == 1 || header->orientation == 6) << i;
  }
}

}  // namespace
}  // namespace glimpse
