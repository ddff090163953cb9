#include "model/packed_cache.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace glimpse {
namespace {

class PackedCacheTest : public testing::Test {
 protected:
  PackedCacheTest() : folder_(testing::TempDir() + "packed_cache_" + std::to_string(getpid())) {}
  ~PackedCacheTest() override { std::filesystem::remove_all(folder_); }

  std::string path() const { return folder_ + "/new/folder/a.packed"; }

  void write(const std::string& key) {
    auto cache = PackedCache::open(path(), key);
    ASSERT_FALSE(cache->reading());
    cache->add("first", std::as_bytes(std::span(first_)));
    cache->add("second", std::as_bytes(std::span(second_)));
    ASSERT_TRUE(cache->finish());
  }

  std::string folder_;
  std::vector<int> first_ = std::vector<int>(5000, 7);
  std::vector<int> second_ = std::vector<int>(3, 9);
};

TEST_F(PackedCacheTest, WritesAndMapsBack) {
  write("key");
  const auto cache = PackedCache::open(path(), "key");
  ASSERT_TRUE(cache->reading());
  const auto first = cache->find("first");
  ASSERT_EQ(first.size(), first_.size() * sizeof(int));
  EXPECT_EQ(std::memcmp(first.data(), first_.data(), first.size()), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(cache->find("second").data()) % 4096, 0u);
  EXPECT_TRUE(cache->find("third").empty());
}

TEST_F(PackedCacheTest, AnotherKeyIsNotRead) {
  write("key");
  EXPECT_FALSE(PackedCache::open(path(), "another")->reading());
  EXPECT_TRUE(PackedCache::open(path(), "key")->reading()) << "an unfinished write must leave the old file alone";
}

TEST_F(PackedCacheTest, CutAndScribbledFilesAreNotRead) {
  write("key");
  const auto size = std::filesystem::file_size(path());
  for (const auto cut : {size - 1, size / 2, uintmax_t{20}, uintmax_t{0}}) {
    std::filesystem::resize_file(path(), cut);
    EXPECT_FALSE(PackedCache::open(path(), "key")->reading()) << cut;
  }
  write("key");
  std::fstream file(path(), std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-16, std::ios::end);
  const uint64_t absurd = ~uint64_t{0} - 3;
  file.write(reinterpret_cast<const char*>(&absurd), 8);
  file.close();
  EXPECT_FALSE(PackedCache::open(path(), "key")->reading());
}

TEST_F(PackedCacheTest, AFolderThatCannotBeMadeIsAnError) {
  auto cache = PackedCache::open("/proc/nowhere/a.packed", "key");
  EXPECT_FALSE(cache->reading());
  cache->add("first", std::as_bytes(std::span(first_)));
  const auto status = cache->finish();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kResource);
}

}  // namespace
}  // namespace glimpse
