#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace glimpse {
namespace {

Result<int> half(int x) {
  if (x % 2 != 0) return Error{ErrorCode::kInvalidArgument, "odd: " + std::to_string(x)};
  return x / 2;
}

Result<int> quarter(int x) {
  ASSIGN_OR_RETURN(const int h, half(x));
  return half(h);
}

Status check_even(int x) {
  RETURN_IF_ERROR(half(x));
  return {};
}

TEST(Result, CarriesValueOrError) {
  EXPECT_EQ(*quarter(12), 3);
  const auto failed = quarter(6);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().message, "odd: 3");
  EXPECT_TRUE(check_even(2));
  EXPECT_FALSE(check_even(3));
}

TEST(Result, HoldsMoveOnlyValues) {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  EXPECT_EQ(**std::move(result), 7);
}

TEST(Result, ErrorsSayWhereAndWhoseFault) {
  EXPECT_EQ((Error{ErrorCode::kInvalidData, "too short"}.in("a.bin").message), "a.bin: too short");
  EXPECT_EQ(exit_code(ErrorCode::kInvalidData), 2);
  EXPECT_EQ(exit_code(ErrorCode::kResource), 1);
}

}  // namespace
}  // namespace glimpse
