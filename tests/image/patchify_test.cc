#include "image/patchify.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "image/resize.h"
#include "image/smart_resize.h"
#include "tests/image/golden.h"

namespace glimpse {
namespace {

std::span<const uint8_t> as_u8(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
}

std::vector<std::byte> patches_of(const RgbImage& image, const ImageOptions& options, PatchFormat format) {
  std::vector<std::byte> out(patch_grid(image.height(), image.width(), options, format).size_bytes);
  patchify(image, options, format, out);
  return out;
}

// Source bytes to pixel_values, bit for bit those of transformers' two processors, fp32 and rounded to bf16.
TEST(Patchify, EqualsTransformersProcessors) {
  const Golden& golden = Golden::get();
  for (const json::value& item : golden.manifest().at("processors").as_array()) {
    const json::object& entry = item.as_object();
    const auto height = static_cast<int>(number(entry.at("in").as_array()[0]));
    const auto width = static_cast<int>(number(entry.at("in").as_array()[1]));
    SCOPED_TRACE(::testing::Message() << entry.at("processor").as_string() << " " << height << "x" << width);
    json::object config = {{"image_processor_type", entry.at("processor")}, {"size", entry.at("size")}};
    const auto options = parse_image_options(config);
    ASSERT_TRUE(options);
    const auto size = smart_resize(height, width, *options);
    ASSERT_TRUE(size);
    ResizeScratch scratch;
    RgbImage resized;
    ASSERT_TRUE(resize(source_image(static_cast<uint64_t>(number(entry.at("seed"))), height, width), size->width,
                       size->height, options->resampler, scratch, resized));
    const PatchGrid grid = patch_grid(size->height, size->width, *options, PatchFormat{});
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(grid.grid_thw[i], number(entry.at("grid_thw").as_array()[i]));
    EXPECT_EQ(grid.num_patches, number(entry.at("shape").as_array()[0]));
    EXPECT_EQ(grid.patch_dim, number(entry.at("shape").as_array()[1]));

    const std::vector<std::byte> values = patches_of(resized, *options, PatchFormat{});
    const auto stored = golden.patches().subspan(static_cast<size_t>(number(entry.at("offset"))), 2 * 1176 * 4);
    for (size_t i = 0; i < 2 * 1176; ++i) {
      float expected = 0;
      float actual = 0;
      std::memcpy(&expected, stored.data() + 4 * i, 4);
      std::memcpy(&actual, values.data() + 4 * i, 4);
      ASSERT_EQ(actual, expected) << "row " << i / 1176 << ", column " << i % 1176;
    }
    EXPECT_EQ(position_hash(as_u8(values)), std::string(entry.at("hash_fp32").as_string()));
    const auto rounded = patches_of(resized, *options, {PatchDtype::kBfloat16, PatchFrames::kAllFrames});
    EXPECT_EQ(position_hash(as_u8(rounded)), std::string(entry.at("hash_bf16").as_string()));
  }
}

TEST(Patchify, OneFrameIsTheFirstOfTwo) {
  const ImageOptions options;
  const RgbImage image = source_image(3, 56, 84);
  const auto both = patches_of(image, options, {PatchDtype::kBfloat16, PatchFrames::kAllFrames});
  const auto one = patches_of(image, options, {PatchDtype::kBfloat16, PatchFrames::kOneFrame});
  ASSERT_EQ(one.size() * 2, both.size());
  constexpr size_t kFrameBytes = 196 * 2;
  for (size_t block = 0; block < one.size() / kFrameBytes; ++block) {
    for (size_t frame = 0; frame < 2; ++frame) {
      ASSERT_EQ(
          std::memcmp(one.data() + block * kFrameBytes, both.data() + (2 * block + frame) * kFrameBytes, kFrameBytes),
          0)
          << "block " << block << ", frame " << frame;
    }
  }
}

// Another patch size, merge size and number of frames than the published ones, against the definition written out.
TEST(Patchify, AnyShapeFollowsTheDefinition) {
  ImageOptions options;
  options.patch_size = 6;
  options.merge_size = 3;
  options.temporal_patch_size = 3;
  const RgbImage image = source_image(9, 36, 54);
  const auto table = normalisation_table(options);
  const auto bytes = patches_of(image, options, PatchFormat{});
  const auto* values = reinterpret_cast<const float*>(bytes.data());
  size_t i = 0;
  for (int wy = 0; wy < 2; ++wy)
    for (int wx = 0; wx < 3; ++wx)
      for (int dy = 0; dy < 3; ++dy)
        for (int dx = 0; dx < 3; ++dx)
          for (int c = 0; c < 3; ++c)
            for (int t = 0; t < 3; ++t)
              for (int y = 0; y < 6; ++y)
                for (int x = 0; x < 6; ++x, ++i) {
                  const uint8_t pixel = image.row((wy * 3 + dy) * 6 + y)[((wx * 3 + dx) * 6 + x) * 3 + c];
                  ASSERT_EQ(values[i], table[static_cast<size_t>(c)][pixel]) << i;
                }
  EXPECT_EQ(i * sizeof(float), bytes.size());
}

}  // namespace
}  // namespace glimpse
