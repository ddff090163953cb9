#include "image/preprocess.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/image/golden.h"

namespace glimpse {
namespace {

ImageOptions mini_options() {
  ImageOptions options;
  options.min_pixels = 25088;
  options.max_pixels = 250880;
  return options;
}

TEST(Preprocess, IsDecodeThenResizeThenPatchify) {
  const ImageOptions options = mini_options();
  ImageScratch scratch;
  for (const char* name : {"jpeg_exif_6", "png_type6_8bit", "webp_lossy", "png_type3_4bit_trns"}) {
    SCOPED_TRACE(name);
    const GoldenPicture& picture = Golden::get().picture(name);
    const auto result = preprocess(picture.encoded, options, PatchFormat{}, scratch);
    ASSERT_TRUE(result) << result.error().message;
    const auto size = smart_resize(picture.height, picture.width, options);
    ASSERT_TRUE(size);
    EXPECT_EQ(result->plan.resized, *size);

    RgbImage decoded;
    ASSERT_TRUE(decode(picture.encoded, options, decoded));
    ResizeScratch resize_scratch;
    RgbImage resized;
    ASSERT_TRUE(resize(decoded, size->width, size->height, options.resampler, resize_scratch, resized));
    std::vector<std::byte> expected(result->plan.grid.size_bytes);
    patchify(resized, options, PatchFormat{}, expected);
    EXPECT_TRUE(std::ranges::equal(result->pixel_values, expected));
    EXPECT_GT(result->decode_ns, 0);
    EXPECT_GT(result->resize_ns, 0);
    EXPECT_GT(result->patchify_ns, 0);
    EXPECT_EQ(result->plan.grid.num_tokens(options) * 4, result->plan.grid.num_patches);
  }
}

TEST(Preprocess, WritesToTheCallersBufferOrSaysItIsTooSmall) {
  const GoldenPicture& picture = Golden::get().picture("jpeg_420_q90");
  const PatchFormat format{PatchDtype::kBfloat16, PatchFrames::kOneFrame};
  const auto plan = plan_image(picture.encoded, mini_options(), format);
  ASSERT_TRUE(plan);
  ImageScratch scratch;
  std::vector<std::byte> buffer(plan->grid.size_bytes + 16, std::byte{0x5a});
  const auto result = preprocess(picture.encoded, mini_options(), format, scratch, buffer);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->pixel_values.data(), buffer.data());
  EXPECT_EQ(result->pixel_values.size(), plan->grid.size_bytes);
  EXPECT_TRUE(std::all_of(buffer.end() - 16, buffer.end(), [](std::byte b) { return b == std::byte{0x5a}; }));
  const auto small = preprocess(picture.encoded, mini_options(), format, scratch, std::span(buffer).first(10));
  ASSERT_FALSE(small);
  EXPECT_EQ(small.error().code, ErrorCode::kInvalidArgument);
}

TEST(Preprocess, WithoutResizeSidesMustFit) {
  ImageOptions options = mini_options();
  options.do_resize = false;
  ImageScratch scratch;
  const auto result = preprocess(Golden::get().picture("jpeg_420_q90").encoded, options, PatchFormat{}, scratch);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "the picture is 37x41, do_resize is off, and a side is not a multiple of 28");
}

TEST(Preprocess, AScratchSurvivesErrors) {
  ImageScratch scratch;
  const GoldenPicture& picture = Golden::get().picture("jpeg_444_q90");
  const auto first = preprocess(picture.encoded, mini_options(), PatchFormat{}, scratch);
  ASSERT_TRUE(first);
  const std::vector<std::byte> expected(first->pixel_values.begin(), first->pixel_values.end());
  EXPECT_FALSE(preprocess(picture.encoded.first(picture.encoded.size() / 2), mini_options(), PatchFormat{}, scratch));
  const auto again = preprocess(picture.encoded, mini_options(), PatchFormat{}, scratch);
  ASSERT_TRUE(again);
  EXPECT_TRUE(std::ranges::equal(again->pixel_values, expected));
}

}  // namespace
}  // namespace glimpse
