#include "base/mmap.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace glimpse {
namespace {

TEST(MappedFile, MapsDropsAndMoves) {
  const std::string path = testing::TempDir() + "mmap_test_" + std::to_string(getpid());
  std::ofstream(path) << std::string(20000, 'q');
  auto file = MappedFile::open(path);
  ASSERT_TRUE(file);
  MappedFile moved = *std::move(file);
  EXPECT_EQ(moved.bytes().size(), 20000u);
  moved.drop(moved.bytes());
  EXPECT_EQ(static_cast<char>(moved.bytes()[19999]), 'q');
  EXPECT_EQ(read_file(path, 20000)->size(), 20000u);
  EXPECT_EQ(read_file(path, 19999).error().code, ErrorCode::kTooLarge);
  ::unlink(path.c_str());
}

TEST(MappedFile, MissingFileAndDirectoryAreErrorsThatNameThePath) {
  const auto missing = MappedFile::open("/nonexistent/x");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/nonexistent/x"), std::string::npos);
  EXPECT_EQ(MappedFile::open("/tmp").error().code, ErrorCode::kInvalidData);
}

}  // namespace
}  // namespace glimpse
