#include "weights/hub.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/weights/fixtures.h"

namespace glimpse {
namespace {

TEST(Hub, TakesADirectory) {
  TempDirectory dir;
  EXPECT_EQ(*resolve_model(dir.path(), ""), dir.path());
  dir.write("file", "x");
  const auto file = resolve_model(dir.path("file"), "");
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("is a file; give --model the directory"), std::string::npos);
}

TEST(Hub, FindsTheMainSnapshot) {
  TempDirectory cache;
  const std::string repository = "models--zai-org--AutoGLM-Phone-9B/";
  cache.write(repository + "snapshots/aaa/config.json", "{}");
  EXPECT_EQ(*resolve_model("zai-org/AutoGLM-Phone-9B", cache.path()), cache.path(repository + "snapshots/aaa"));
  cache.write(repository + "snapshots/bbb/config.json", "{}");
  EXPECT_FALSE(resolve_model("zai-org/AutoGLM-Phone-9B", cache.path()));  // two, and nothing says which
  cache.write(repository + "refs/main", "bbb\n");
  EXPECT_EQ(*resolve_model("zai-org/AutoGLM-Phone-9B", cache.path()), cache.path(repository + "snapshots/bbb"));
  cache.write(repository + "refs/main", "../../../../etc");
  EXPECT_FALSE(resolve_model("zai-org/AutoGLM-Phone-9B", cache.path()));
}

TEST(Hub, SaysWhichDirectoryToGive) {
  TempDirectory cache;
  for (const char* model : {"zai-org/none", "nowhere", "../x/y", "a/b/c", "", "org/..", "/no/such/dir"}) {
    const auto result = resolve_model(model, cache.path());
    ASSERT_FALSE(result) << model;
    EXPECT_EQ(result.error().code, ErrorCode::kNotFound);
    EXPECT_NE(result.error().message.find("give --model the directory that holds its config.json"), std::string::npos);
  }
  EXPECT_NE(resolve_model("zai-org/none", cache.path()).error().message.find(cache.path()), std::string::npos);
}

TEST(Hub, ReadsTheEnvironment) {
  ::setenv("HOME", "/h", 1);
  ::unsetenv("HF_HUB_CACHE");
  ::unsetenv("HF_HOME");
  ::unsetenv("XDG_CACHE_HOME");
  EXPECT_EQ(hub_cache_from_environment(), "/h/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(hub_cache_from_environment(), "/x/huggingface/hub");
  ::setenv("HF_HOME", "/f", 1);
  EXPECT_EQ(hub_cache_from_environment(), "/f/hub");
  ::setenv("HF_HUB_CACHE", "/c", 1);
  EXPECT_EQ(hub_cache_from_environment(), "/c");
  ::unsetenv("HF_HUB_CACHE");
  ::unsetenv("HF_HOME");
  ::unsetenv("XDG_CACHE_HOME");
}

}  // namespace
}  // namespace glimpse
