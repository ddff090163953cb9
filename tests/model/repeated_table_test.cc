#include "model/repeated_table.h"

#include <gtest/gtest.h>

#include <cstring>

namespace glimpse {
namespace {

TEST(RepeatedTable, RowsRepeat) {
  constexpr size_t kRowBytes = 6;
  const auto table = RepeatedTable::create(10000, kRowBytes, [](std::span<std::byte> out) -> Status {
    EXPECT_EQ(out.size(), 4096 * kRowBytes);
    for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::byte>(i * 31 / 7);
    return {};
  });
  ASSERT_TRUE(table) << table.error().message;
  const std::byte* data = (*table)->data();
  for (const size_t row : {size_t{0}, size_t{5}, size_t{4095}, size_t{4096}, size_t{8200}, size_t{9999}}) {
    EXPECT_EQ(std::memcmp(data + row * kRowBytes, data + row % 4096 * kRowBytes, kRowBytes), 0) << row;
  }
}

TEST(RepeatedTable, ASmallTableIsItself) {
  const auto table = RepeatedTable::create(3, 10, [](std::span<std::byte> out) -> Status {
    EXPECT_EQ(out.size(), 30u);
    return {};
  });
  EXPECT_TRUE(table);
}

TEST(RepeatedTable, AFailureToFillIsHandedOn) {
  const auto table =
      RepeatedTable::create(3, 10, [](std::span<std::byte>) -> Status { return Error{ErrorCode::kInvalidData, "no"}; });
  ASSERT_FALSE(table);
  EXPECT_EQ(table.error().message, "no");
}

}  // namespace
}  // namespace glimpse
