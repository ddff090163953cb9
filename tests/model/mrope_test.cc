#include "model/mrope.h"

#include <gtest/gtest.h>

namespace glimpse {
namespace {

constexpr int32_t kImage = 99;

std::vector<int32_t> prompt(std::initializer_list<std::pair<int32_t, int>> runs) {
  std::vector<int32_t> ids;
  for (const auto& [id, count] : runs) ids.insert(ids.end(), static_cast<size_t>(count), id);
  return ids;
}

TEST(Mrope, WorkedExampleOfTheReference) {
  // Five text tokens, an image of 8 x 12 patches, four text tokens.
  const auto ids = prompt({{1, 5}, {kImage, 24}, {2, 4}});
  const GridThw grid{1, 8, 12};
  const auto result = mrope_positions(ids, kImage, std::span(&grid, 1), 2);
  ASSERT_TRUE(result);
  for (size_t axis = 0; axis < 3; ++axis) {
    for (int i = 0; i < 5; ++i) EXPECT_EQ(result->axes[axis][static_cast<size_t>(i)], i);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(result->axes[axis][static_cast<size_t>(29 + i)], 11 + i);
  }
  for (int r = 0; r < 4; ++r) {
    for (int c = 0; c < 6; ++c) {
      const auto i = static_cast<size_t>(5 + r * 6 + c);
      EXPECT_EQ(result->axes[0][i], 5);
      EXPECT_EQ(result->axes[1][i], 5 + r);
      EXPECT_EQ(result->axes[2][i], 5 + c);
    }
  }
  EXPECT_EQ(result->delta, -18);
}

TEST(Mrope, TextAloneCountsUpOnAllAxes) {
  const auto ids = prompt({{7, 10}});
  const auto result = mrope_positions(ids, kImage, {}, 2);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->delta, 0);
  for (const auto& axis : result->axes) EXPECT_EQ(axis.back(), 9);
}

TEST(Mrope, ImagesNextToEachOtherAreToldApartByTheirGrids) {
  const auto ids = prompt({{1, 1}, {kImage, 4 + 6}, {1, 1}});
  const std::vector<GridThw> grids = {{1, 4, 4}, {1, 4, 6}};
  const auto result = mrope_positions(ids, kImage, grids, 2);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->axes[0][5], 3);  // the second image begins behind the first one's 2 x 2 tokens
  EXPECT_EQ(result->axes[2][7], 5);
  EXPECT_EQ(result->axes[0].back(), 6);
}

TEST(Mrope, MismatchesAreErrorsWithBothNumbers) {
  const GridThw grid{1, 4, 4};
  const auto too_few = mrope_positions(prompt({{kImage, 3}, {1, 1}}), kImage, std::span(&grid, 1), 2);
  ASSERT_FALSE(too_few);
  EXPECT_NE(too_few.error().message.find("needs 4 image tokens, the prompt has 3"), std::string::npos);
  EXPECT_FALSE(mrope_positions(prompt({{kImage, 5}}), kImage, std::span(&grid, 1), 2));
  EXPECT_FALSE(mrope_positions(prompt({{1, 5}}), kImage, std::span(&grid, 1), 2));
  EXPECT_FALSE(mrope_positions(prompt({{kImage, 4}}), kImage, {}, 2));
}

}  // namespace
}  // namespace glimpse
