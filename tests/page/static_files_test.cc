#include "page/static_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <string>

namespace glimpse {
namespace {

std::string text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(StaticFiles, AreSortedAndFound) {
  const auto files = static_files();
  if (files.empty()) GTEST_SKIP() << "built without the page";
  EXPECT_TRUE(std::ranges::is_sorted(files, {}, &StaticFile::path));
  for (const StaticFile& file : files) {
    EXPECT_EQ(find_static_file(file.path), &file);
    EXPECT_FALSE(file.bytes.empty()) << file.path;
    EXPECT_FALSE(file.content_type.empty()) << file.path;
    EXPECT_TRUE(file.etag.starts_with("W/\"") && file.etag.ends_with('"')) << file.etag;
  }
  EXPECT_EQ(find_static_file("/no-such-file"), nullptr);
  EXPECT_EQ(find_static_file(""), nullptr);
  EXPECT_EQ(find_static_file("/zzz"), nullptr);
}

TEST(StaticFiles, ThePageNamesOnlyFilesThatAreThere) {
  const StaticFile* page = find_static_file("/");
  if (page == nullptr) GTEST_SKIP() << "built without the page";
  EXPECT_FALSE(page->immutable);
  const std::string html = text(page->bytes);
  int named = 0;
  for (const std::string_view attribute : {"src=\"", "href=\""}) {
    for (size_t at = html.find(attribute); at != std::string::npos; at = html.find(attribute, at + 1)) {
      const size_t begin = at + attribute.size();
      const std::string path = html.substr(begin, html.find('"', begin) - begin);
      EXPECT_NE(find_static_file(path), nullptr) << path;
      ++named;
    }
  }
  EXPECT_GE(named, 2);
}

// What the first visit loads, as the browser asks for it: the page, and the scripts and styles it names.
TEST(StaticFiles, FirstLoadIsAtMost150KB) {
  const StaticFile* page = find_static_file("/");
  if (page == nullptr) GTEST_SKIP() << "built without the page";
  const std::string html = text(page->bytes);
  size_t bytes = 0;
  for (const StaticFile& file : static_files()) {
    if (&file != page && html.find("\"" + std::string(file.path) + "\"") == std::string::npos) continue;
    bytes += file.brotli.empty() ? file.bytes.size() : file.brotli.size();
  }
  std::cout << bytes << " bytes with brotli\n";
  EXPECT_GT(bytes, 1000u);
  EXPECT_LE(bytes, 150'000u);
}

TEST(StaticFiles, HasNoInlineScriptOrStyle) {
  const StaticFile* page = find_static_file("/");
  if (page == nullptr) GTEST_SKIP() << "built without the page";
  const std::string html = text(page->bytes);
  EXPECT_EQ(html.find("<style"), std::string::npos);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_EQ(page_security_policy().find("script-src 'self' "), std::string_view::npos);  // nothing beside 'self'
  EXPECT_NE(page_security_policy().find("script-src 'self';"), std::string_view::npos);
}

}  // namespace
}  // namespace glimpse
