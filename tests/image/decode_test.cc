#include "image/decode.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/image/golden.h"

namespace glimpse {
namespace {

// The first difference, for a message one can act on.
std::string first_difference(const GoldenPicture& picture, const RgbImage& image) {
  for (size_t i = 0; i < picture.pixels.size(); ++i) {
    if (image.data()[i] != picture.pixels[i]) {
      const size_t pixel = i / 3;
      return "x " + std::to_string(pixel % static_cast<size_t>(picture.width)) + ", y " +
             std::to_string(pixel / static_cast<size_t>(picture.width)) + ", channel " + std::to_string(i % 3) +
             ": expected " + std::to_string(picture.pixels[i]) + ", got " + std::to_string(image.data()[i]);
    }
  }
  return {};
}

TEST(Decode, EveryGoldenPictureEqualsPillow) {
  DecodeScratch scratch;
  RgbImage image;
  int checked = 0;
  for (const GoldenPicture& picture : Golden::get().pictures()) {
    SCOPED_TRACE(picture.name);
    const auto header = read_header(picture.encoded);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->width, picture.width);
    EXPECT_EQ(header->height, picture.height);
    const Status status = decode(picture.encoded, ImageOptions{}, scratch, image);
    ASSERT_TRUE(status) << status.error().message;
    ASSERT_EQ(image.width(), picture.width);
    ASSERT_EQ(image.height(), picture.height);
    EXPECT_EQ(first_difference(picture, image), "");
    ++checked;
  }
  EXPECT_GE(checked, 90);
}

TEST(Decode, OrientationAndTypeAreInTheHeader) {
  const Golden& golden = Golden::get();
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const auto header = read_header(golden.picture("jpeg_exif_" + std::to_string(orientation)).encoded);
    ASSERT_TRUE(header);
    EXPECT_EQ(header->orientation, orientation);
    EXPECT_EQ(header->type, ImageType::kJpeg);
    EXPECT_EQ(header->stored_width(), 27);
    EXPECT_EQ(header->stored_height(), 18);
  }
  EXPECT_EQ(read_header(golden.picture("png_exif_5_after_data").encoded)->orientation, 5);
  EXPECT_EQ(read_header(golden.picture("webp_exif_8").encoded)->type, ImageType::kWebp);
}

TEST(Decode, ReusesTheBufferOfABiggerPicture) {
  RgbImage image;
  ASSERT_TRUE(image.reset(500, 500));
  const uint8_t* buffer = image.data();
  const GoldenPicture& picture = Golden::get().picture("jpeg_420_q90");
  ASSERT_TRUE(decode(picture.encoded, ImageOptions{}, image));
  EXPECT_EQ(image.data(), buffer);
  EXPECT_EQ(first_difference(picture, image), "");
}

}  // namespace
}  // namespace glimpse
