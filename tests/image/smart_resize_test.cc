#include "image/smart_resize.h"

#include <gtest/gtest.h>

#include "tests/image/golden.h"

namespace glimpse {
namespace {

ImageOptions with_bounds(int64_t low, int64_t high) {
  ImageOptions options;
  options.min_pixels = low;
  options.max_pixels = high;
  return options;
}

TEST(SmartResize, PublishedVectors) {
  struct Vector {
    int height, width;
    ImageSize expected;
  };
  const Vector vectors[] = {
      {336, 336, {336, 336}},     {480, 640, {476, 644}},     {800, 1216, {812, 1204}}, {1080, 1920, {1092, 1932}},
      {2400, 1080, {2408, 1092}}, {3168, 1440, {3164, 1428}}, {100, 2000, {112, 1988}}, {4000, 3000, {2520, 1876}},
      {2184, 2184, {2184, 2184}}, {2212, 2184, {2184, 2156}}, {20, 20, {84, 84}},       {16, 100, {56, 224}},
      {70, 98, {56, 112}},        {1, 150, {28, 4200}},
  };
  for (const Vector& v : vectors) {
    const auto size = smart_resize(v.height, v.width, with_bounds(12544, 9633792));
    ASSERT_TRUE(size);
    EXPECT_EQ(size->height, v.expected.height) << v.height << "x" << v.width;
    EXPECT_EQ(size->width, v.expected.width) << v.height << "x" << v.width;
  }
  EXPECT_EQ(*smart_resize(2400, 1080, with_bounds(12544, 5000000)), (ImageSize{2352, 1036}));
}

TEST(SmartResize, EqualsTheReferenceOnRandomShapes) {
  int refused = 0;
  for (const json::value& row : Golden::get().manifest().at("smart_resize").as_array()) {
    const auto get = [&](size_t i) { return number(row.as_array()[i]); };
    const auto size = smart_resize(static_cast<int>(get(0)), static_cast<int>(get(1)), with_bounds(get(2), get(3)));
    EXPECT_EQ(size.has_value(), get(4) != 0) << get(0) << "x" << get(1);
    if (!size) {
      ++refused;
      continue;
    }
    EXPECT_EQ(size->height, get(4)) << get(0) << "x" << get(1) << " in " << get(2) << " to " << get(3);
    EXPECT_EQ(size->width, get(5)) << get(0) << "x" << get(1) << " in " << get(2) << " to " << get(3);
  }
  EXPECT_GT(refused, 0);
}

TEST(SmartResize, RefusesRibbons) {
  const auto size = smart_resize(30, 7000, ImageOptions{});
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().message, "the picture is 7000x30: one side is more than 200 times the other");
}

}  // namespace
}  // namespace glimpse
