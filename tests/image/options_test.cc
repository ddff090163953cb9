#include "image/options.h"

#include <gtest/gtest.h>

#include "base/mmap.h"

namespace glimpse {
namespace {

Result<ImageOptions> parse(std::string_view text) {
  return parse_image_options(parse_json(text)->as_object());
}

std::string error_of(std::string_view text) {
  const auto options = parse(text);
  return options ? "accepted" : options.error().message;
}

TEST(ImageOptions, ReadsGlimpseMini) {
  const auto text =
      read_file(std::string(GLIMPSE_SOURCE_DIR) + "/models/glimpse-mini/preprocessor_config.json", 1 << 20);
  ASSERT_TRUE(text);
  const auto options = parse(*text);
  ASSERT_TRUE(options) << options.error().message;
  ImageOptions expected;
  expected.min_pixels = 25088;
  expected.max_pixels = 250880;
  EXPECT_EQ(*options, expected);
}

TEST(ImageOptions, EmptyObjectIsTheClassDefault) {
  EXPECT_EQ(*parse("{}"), ImageOptions{});
}

TEST(ImageOptions, NamesChooseTheReference) {
  EXPECT_EQ(parse(R"({"image_processor_type": "Glm4vImageProcessor"})")->resampler, Resampler::kTorchvision);
  EXPECT_EQ(parse(R"({"image_processor_type": "Glm46VImageProcessorFast"})")->resampler, Resampler::kTorchvision);
  EXPECT_EQ(parse(R"({"image_processor_type": "Glm4vImageProcessorPil"})")->resampler, Resampler::kPillow);
  EXPECT_EQ(error_of(R"({"image_processor_type": "CLIPImageProcessor"})"),
            "field \"image_processor_type\" is \"CLIPImageProcessor\", not a Glm4vImageProcessor or "
            "Glm46VImageProcessor");
}

TEST(ImageOptions, LegacyNamesCountWithoutSize) {
  EXPECT_EQ(parse(R"({"min_pixels": 3136, "max_pixels": 100352})")->max_pixels, 100352);
  EXPECT_EQ(parse(R"({"max_pixels": 5, "size": {"shortest_edge": 28, "longest_edge": 5000}})")->max_pixels, 5000);
}

TEST(ImageOptions, ErrorsNameTheField) {
  EXPECT_EQ(error_of(R"({"size": 448})"), "field \"size\" must be an object with shortest_edge and longest_edge");
  EXPECT_EQ(error_of(R"({"size": {"shortest_edge": -1}})"), "field \"shortest_edge\" is -1, outside 1 to 1073741824");
  EXPECT_EQ(error_of(R"({"size": {"shortest_edge": 900, "longest_edge": 800}})"),
            "field \"shortest_edge\" is 900, above longest_edge 800");
  EXPECT_EQ(error_of(R"({"image_std": [0.2, 0, 0.2]})"), "field \"image_std\" [1] is 0.000000, but must be positive");
  EXPECT_EQ(error_of(R"({"image_mean": [0.2, "x", 0.2]})"), "field \"image_mean\" must be a list of 3 numbers");
  EXPECT_EQ(error_of(R"({"image_mean": [0.2, 0.1]})"), "field \"image_mean\" must be a list of 3 numbers");
  EXPECT_EQ(error_of(R"({"image_mean": [0.2, 1e300, 0.1]})").find("field \"image_mean\" [1]"), 0U);
  EXPECT_EQ(error_of(R"({"patch_size": 0})"), "field \"patch_size\" is 0, outside 1 to 256");
  EXPECT_EQ(error_of(R"({"rescale_factor": 0})"), "field \"rescale_factor\" is 0.000000, not a usable number");
  EXPECT_EQ(error_of(R"({"resample": 2})"), "field \"resample\" is 2; only 3 (bicubic) is supported");
  EXPECT_EQ(error_of(R"({"do_resize": "yes"})"), "field \"do_resize\" must be true or false, not \"yes\"");
}

}  // namespace
}  // namespace glimpse
