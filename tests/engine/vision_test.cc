// Pictures: slices of the tower against the whole, and rows that come back from host memory.

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "engine/host_step_runner.h"
#include "engine/vision_cache.h"
#include "tests/engine/hash_model.h"
#include "tests/engine/tiny_model.h"

namespace glimpse {
namespace {

using Bytes = std::vector<std::byte>;

Bytes rows_of_runner(Runner& runner, int32_t first, int32_t count) {
  Bytes bytes(static_cast<size_t>(count) * runner.image_row_bytes());
  runner.read_images(first, count, bytes.data());
  return bytes;
}

class VisionSlices : public testing::TestWithParam<std::tuple<std::string, DType, Quantization>> {};

TEST_P(VisionSlices, GiveTheBytesOfTheWhole) {
  const auto& [name, dtype, quantization] = GetParam();
  const TinyModel model(name);
  const auto runner = model.runner(
      {.dtype = dtype, .vision_quantization = quantization, .max_model_len = 512, .max_num_batched_tokens = 32});
  ASSERT_NE(runner, nullptr);
  const auto pixel_dtype = runner->prepare_vision();
  ASSERT_TRUE(pixel_dtype);
  const auto tokens = static_cast<int32_t>(model.grid.num_tokens(2));
  const Bytes pixels = model.pixels(1, *pixel_dtype);
  const Bytes other = model.pixels(2, *pixel_dtype);
  ASSERT_TRUE(runner->encode_image(pixels.data(), model.grid, 0));
  const Bytes whole = rows_of_runner(*runner, 0, tokens);
  for (const double flops : {1.0, 1e5, 3e6}) {
    ASSERT_TRUE(runner->begin_image(other.data(), model.grid, tokens));  // begun and given up
    runner->advance_image(flops);
    runner->abandon_image();
    ASSERT_TRUE(runner->begin_image(pixels.data(), model.grid, tokens));
    int slices = 1;
    while (!runner->advance_image(flops)) ++slices;
    EXPECT_DOUBLE_EQ(runner->image_flops_done(), runner->image_flops());
    EXPECT_GT(slices, flops == 1.0 ? 6 : 0);
    EXPECT_EQ(rows_of_runner(*runner, tokens, tokens), whole) << slices << " slices";
  }
}

INSTANTIATE_TEST_SUITE_P(Towers, VisionSlices,
                         testing::Values(std::tuple("tiny_gqa2_v5", DType::kF32, Quantization::kNone),
                                         std::tuple("tiny_gqa1_flat", DType::kBF16, Quantization::kNone),
                                         std::tuple("tiny_gqa2_v5", DType::kBF16, Quantization::kInt8),
                                         std::tuple("tiny_gqa2_v5", DType::kBF16, Quantization::kInt4)));

// Three pictures, room for one: each goes to host memory and comes back, and the tower never runs again.
TEST(VisionCache, ReturnsTheBytesThatTheTowerMade) {
  const TinyModel model;
  const auto tokens = static_cast<int32_t>(model.grid.num_tokens(2));
  const auto runner = model.runner({.dtype = DType::kF32,
                                    .max_model_len = 512,
                                    .max_num_batched_tokens = 32,
                                    .num_image_rows = tokens + tokens / 2});
  const SteadyClock clock;
  HostStepRunner steps(*runner, clock);
  VisionCache cache({}, steps, clock);
  ASSERT_TRUE(steps.prepare_vision());
  std::vector<ImageRef> images;
  std::vector<Bytes> made;
  for (uint32_t seed = 0; seed < 3; ++seed) {
    auto bytes = std::make_shared<Bytes>(model.pixels(seed, DType::kF32));
    ImageKey key;
    key.sha256[0] = static_cast<uint8_t>(seed);
    EXPECT_EQ(cache.find(key), nullptr);
    bool told = false;
    auto added = cache.add(key, model.grid, {std::shared_ptr<const std::byte>(bytes, bytes->data()), bytes->size()},
                           Priority::kInteractive, [&] { told = true; });
    ASSERT_TRUE(added);
    images.push_back(*added);
    EXPECT_EQ(cache.find(key), images.back());
    while (!images.back()->encoded()) cache.advance(1e6);
    cache.run_callbacks();
    EXPECT_TRUE(told);
    EXPECT_FALSE(images.back()->spans().empty());
    const auto& image = static_cast<const CachedImage&>(*images.back());
    made.push_back(rows_of_runner(*runner, cache.first_row(image), tokens));
  }
  for (int64_t step = 1; step < 20; ++step) {
    const auto i = static_cast<size_t>(step * 7 % 3);
    auto& image = static_cast<CachedImage&>(*images[i]);
    ASSERT_TRUE(cache.acquire(image, step));
    // While it is in use there is no room for another.
    EXPECT_FALSE(cache.acquire(static_cast<CachedImage&>(*images[(i + 1) % 3]), step));
    EXPECT_EQ(rows_of_runner(*runner, cache.first_row(image), tokens), made[i]);
    cache.release(step);
  }
  EXPECT_EQ(cache.num_encoded(), 3);
  EXPECT_GT(cache.host_bytes(), 0);
}

PixelValues pixels_of(uint8_t first) {
  auto data = std::make_shared<Bytes>(16, std::byte{first});
  return {.data = std::shared_ptr<const std::byte>(data, data->data()), .bytes = data->size()};
}

ImageKey key_of(uint8_t first) {
  ImageKey key;
  key.sha256.fill(first);
  return key;
}

TEST(VisionCache, ForgetsWhatNobodyHoldsAndKeepsWhatIsPinned) {
  FakeClock clock;
  HashModel model({.block_size = 4,
                   .num_blocks = 8,
                   .max_model_len = 32,
                   .max_num_batched_tokens = 8,
                   .max_num_seqs = 1,
                   .vocab_size = 10,
                   .spatial_merge_size = 2,
                   .num_image_rows = 4,
                   .image_row_bytes = 8},
                  clock);
  std::array<std::byte, 64> host_memory{};
  VisionCache cache({.host_memory = host_memory}, model, clock);
  const GridThw grid{1, 4, 4};  // 4 tokens: all rows, 32 bytes
  std::vector<ImageRef> pinned;
  for (uint8_t i = 0; i < 10; ++i) {
    auto image = *cache.add(key_of(i), grid, pixels_of(i), Priority::kInteractive, {});
    while (!image->encoded()) cache.advance(1);
    if (i < 4) pinned.push_back(image);
  }
  for (uint8_t i = 0; i < 4; ++i) EXPECT_EQ(cache.find(key_of(i)), pinned[i]) << "over the bound, but held";
  EXPECT_EQ(cache.host_bytes(), 4 * 32) << "two in the cache's memory, two in their own";
  EXPECT_EQ(cache.find(key_of(4)), nullptr);
  EXPECT_NE(cache.find(key_of(9)), nullptr);  // on the device
  for (uint8_t i = 0; i < 4; ++i) {           // each comes back with its own rows
    ASSERT_TRUE(cache.acquire(static_cast<CachedImage&>(*pinned[i]), i + 1));
    cache.release(i + 1);
    for (int32_t row = 0; row < 4; ++row) EXPECT_EQ(model.row(row), HashModel::row_of(i, row)) << int{i};
  }
  pinned.clear();
  auto one_more = *cache.add(key_of(20), grid, pixels_of(20), Priority::kInteractive, {});
  while (!one_more->encoded()) cache.advance(1);
  EXPECT_LE(cache.host_bytes(), 64);
}

TEST(VisionCache, CopiesNothingThatItWouldForget) {
  FakeClock clock;
  HashModel model(
      {.max_model_len = 32, .max_num_seqs = 1, .spatial_merge_size = 2, .num_image_rows = 4, .image_row_bytes = 8},
      clock);
  VisionCache cache({}, model, clock);
  for (uint8_t i = 0; i < 3; ++i) {
    const auto image = *cache.add(key_of(i), {1, 4, 4}, pixels_of(i), Priority::kInteractive, {});
    while (!image->encoded()) cache.advance(1);
  }
  EXPECT_EQ(model.num_images_read, 0);
  EXPECT_EQ(cache.host_bytes(), 0);
  EXPECT_EQ(cache.find(key_of(1)), nullptr);
  EXPECT_NE(cache.find(key_of(2)), nullptr);
}

TEST(VisionCache, DropsPicturesThatNobodyWaitsFor) {
  FakeClock clock;
  HashModel model(
      {.max_model_len = 32, .max_num_seqs = 1, .spatial_merge_size = 2, .num_image_rows = 8, .image_row_bytes = 8},
      clock);
  VisionCache cache({.max_queued_bytes = 40}, model, clock);
  const GridThw grid{1, 4, 4};
  auto first = *cache.add(key_of(1), grid, pixels_of(1), Priority::kInteractive, {});
  auto second = *cache.add(key_of(2), grid, pixels_of(2), Priority::kInteractive, {});
  const auto third = cache.add(key_of(3), grid, pixels_of(3), Priority::kInteractive, {});
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::kOverloaded);
  EXPECT_EQ(cache.add(key_of(4), {1, 40, 40}, pixels_of(4), Priority::kInteractive, {}).error().code,
            ErrorCode::kTooLarge);
  cache.advance(1);
  first.reset();   // in the tower
  second.reset();  // in the queue
  cache.advance(1);
  EXPECT_FALSE(cache.has_work());
  EXPECT_EQ(cache.rows_used(), 0);
  EXPECT_EQ(cache.find(key_of(1)), nullptr);
  EXPECT_EQ(cache.find(key_of(2)), nullptr);
}

}  // namespace
}  // namespace glimpse
