#include "processor/image_prompt.h"

#include <gtest/gtest.h>

namespace glimpse {
namespace {

TEST(ImagePrompt, EachPlaceholderIsExpandedOnce) {
  const std::vector<int32_t> ids = {1, 9, 2, 9, 9};
  const std::vector<int64_t> counts = {3, 1, 2};
  const auto expanded = expand_images(ids, 9, counts, 100);
  ASSERT_TRUE(expanded);
  EXPECT_EQ(expanded->ids, (std::vector<int32_t>{1, 9, 9, 9, 2, 9, 9, 9}));
  EXPECT_EQ(expanded->images, (std::vector<ImageSpan>{{1, 3}, {5, 1}, {6, 2}}));
  EXPECT_EQ(expand_images(std::vector<int32_t>{1, 2}, 9, {}, 2)->ids, (std::vector<int32_t>{1, 2}));
}

TEST(ImagePrompt, CountsMustAgree) {
  const std::vector<int32_t> ids = {1, 9, 2};
  const std::vector<int64_t> counts = {3, 1};
  EXPECT_EQ(expand_images(ids, 9, counts, 100).error().message, "the prompt has 1 image placeholders for 2 images");
  EXPECT_EQ(expand_images(ids, 9, {}, 100).error().message, "the prompt has 1 image placeholders for 0 images");
}

TEST(ImagePrompt, IsBounded) {
  const std::vector<int32_t> ids = {1, 9, 2};
  const std::vector<int64_t> huge = {INT64_MAX};
  const std::vector<int64_t> fits = {8};
  const std::vector<int64_t> zero = {0};
  EXPECT_EQ(expand_images(ids, 9, huge, 100).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(expand_images(ids, 9, fits, 9).error().code, ErrorCode::kTooLarge);
  EXPECT_TRUE(expand_images(ids, 9, fits, 10));
  EXPECT_FALSE(expand_images(ids, 9, zero, 10));
}

TEST(ImagePrompt, TokensOfAGrid) {
  EXPECT_EQ(*image_token_count(1, 8, 12, 2), 24);
  EXPECT_EQ(*image_token_count(2, 40, 40, 2), 800);
  EXPECT_FALSE(image_token_count(1, 7, 12, 2));
  EXPECT_FALSE(image_token_count(0, 8, 12, 2));
  EXPECT_FALSE(image_token_count(1 << 20, 1 << 20, 1 << 20, 1));
}

}  // namespace
}  // namespace glimpse
