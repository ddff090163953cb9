// The op that resizes, normalises and cuts pictures, against image/, whose bytes are those of torchvision and Pillow
// (tests/image). Exact: the resize is integer arithmetic, and a byte's value is looked up and rounded to the dtype.

#include <cstring>

#include "bench/image/photo.h"
#include "image/picture_block.h"
#include "tests/kernels/rig.h"

namespace glimpse::testing {
namespace {

struct Case {
  int height, width;
  Resampler resampler = Resampler::kTorchvision;
  bool do_resize = true;
  int patch_size = 14;
  int64_t max_pixels = 28 * 28 * 15000;
};

// What `rig` makes of the picture, as float32.
std::vector<float> cut(Rig& rig, std::span<const std::byte> encoded, const ImageOptions& options, DType dtype) {
  ImageScratch scratch;
  const auto plan = plan_image(encoded, options, {.frames = PatchFrames::kOneFrame});
  EXPECT_TRUE(plan) << plan.error().message;
  const PictureBlock layout = plan_block(*plan, options, scratch);
  auto buffer = rig.backend().allocate(layout.bytes, MemoryKind::kPinnedHost);
  EXPECT_TRUE(buffer);
  const std::span<std::byte> block(buffer->as<std::byte>(), layout.bytes);
  EXPECT_TRUE(fill_block(encoded, *plan, layout, options, scratch, block));
  const Matrix patches = rig.matrix(dtype, layout.num_patches(), layout.patch_values());
  const CutPictureArgs args{
      .layout = layout, .block = rig.upload(std::vector<std::byte>(block.begin(), block.end())), .patches = patches};
  EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().cut_picture_workspace(args)));
  cut_picture(args, rig.stream());
  return rig.read(patches, layout.num_patches());
}

TEST(CutPicture, EqualsTheHostsPatches) {
  const std::vector<Case> cases = {
      {.height = 108, .width = 192},                               // a little larger
      {.height = 240, .width = 427},                               // both sides smaller or larger
      {.height = 420, .width = 700, .max_pixels = 28 * 28 * 200},  // much smaller
      {.height = 420, .width = 700, .resampler = Resampler::kPillow, .max_pixels = 28 * 28 * 200},
      {.height = 900, .width = 100, .resampler = Resampler::kPillow, .max_pixels = 28 * 28 * 60},  // height first
      {.height = 112, .width = 150},                                                               // one axis
      {.height = 150, .width = 112, .resampler = Resampler::kPillow},                              // the other
      {.height = 112, .width = 140},                                                               // none
      {.height = 56, .width = 84, .do_resize = false},
      {.height = 61, .width = 97, .patch_size = 7},  // odd patches
      {.height = 7, .width = 9},
  };
  std::vector<std::unique_ptr<Rig>> rigs;
  rigs.push_back(std::make_unique<Rig>());
  for (const Target& target : targets()) {
    auto rig = std::make_unique<Rig>(target);
    if (rig->ops().cut_picture != nullptr) rigs.push_back(std::move(rig));
  }
  bool saw_down_first = false;
  for (const Case& c : cases) {
    ImageOptions options;
    options.resampler = c.resampler;
    options.do_resize = c.do_resize;
    options.patch_size = c.patch_size;
    options.max_pixels = c.max_pixels;
    const std::vector<std::byte> encoded = encode_jpeg(make_photo(c.height, c.width));
    for (const bool f32 : {true, false}) {
      const PatchFormat format{f32 ? PatchDtype::kFloat32 : PatchDtype::kBfloat16, PatchFrames::kOneFrame};
      ImageScratch scratch;
      const auto expected = preprocess(encoded, options, format, scratch);
      ASSERT_TRUE(expected) << expected.error().message;
      std::vector<float> values(static_cast<size_t>(expected->plan.grid.num_patches * expected->plan.grid.patch_dim));
      for (size_t i = 0; i < values.size(); ++i) {
        values[i] =
            f32 ? expected->as_float32()[i] : to_float(reinterpret_cast<const bf16*>(expected->pixel_values.data())[i]);
      }
      const ImageSize from{expected->plan.header.height, expected->plan.header.width};
      saw_down_first |= goes_down_first(from, expected->plan.resized, c.resampler);
      for (const auto& rig : rigs) {
        const auto actual = cut(*rig, encoded, options, f32 ? DType::kF32 : DType::kBF16);
        ASSERT_EQ(actual.size(), values.size());
        size_t different = 0;
        for (size_t i = 0; i < values.size(); ++i) different += actual[i] == values[i] ? 0 : 1;
        EXPECT_EQ(different, 0) << rig->backend().name() << ", " << c.height << " x " << c.width << ", "
                                << (f32 ? "float32" : "bfloat16") << ", of " << values.size();
      }
    }
  }
  EXPECT_TRUE(saw_down_first);
}

}  // namespace
}  // namespace glimpse::testing
