// The table of includes between the folders of src/ is the architecture. This test prints it and compares it with the
// one written here; when an arrow is added on purpose, it is added here and in ARCHITECTURE.md in the same commit.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;
using Arrows = std::map<std::string, std::set<std::string>>;

// Everything may use base; that is not listed.
const Arrows kAllowed = {
    {"base", {}},
    {"tensor", {}},
    {"jinja", {}},
    {"tokenizer", {}},
    {"image", {"tensor"}},
    {"sampling", {}},
    {"weights", {"tensor"}},
    {"kernels", {"tensor"}},
    {"processor", {"jinja"}},
    {"model", {"kernels", "tensor", "weights"}},
    {"engine", {"kernels", "model", "sampling", "tensor", "weights"}},
    {"cli", {"engine", "image", "kernels", "model", "processor", "sampling", "tensor", "tokenizer", "weights"}},
};

Arrows read_arrows(const fs::path& src) {
  Arrows arrows;
  const std::regex include(R"re(^\s*#\s*include\s+"([A-Za-z0-9_]+)/[^"]+")re");
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cc" && extension != ".inc" && extension != ".cu") continue;
    const std::string folder = fs::relative(entry.path(), src).begin()->string();
    arrows[folder];
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::smatch match;
      if (std::regex_search(line, match, include) && match[1] != folder && match[1] != "base") {
        arrows[folder].insert(match[1]);
      }
    }
  }
  return arrows;
}

TEST(Architecture, IncludesBetweenFoldersAreTheOnesWrittenDown) {
  const Arrows found = read_arrows(fs::path(GLIMPSE_SOURCE_DIR) / "src");
  ASSERT_FALSE(found.empty());
  for (const auto& [folder, targets] : found) {
    std::cout << folder << " ->";
    for (const auto& target : targets) std::cout << ' ' << target;
    std::cout << '\n';
    const auto allowed = kAllowed.find(folder);
    ASSERT_NE(allowed, kAllowed.end()) << "src/" << folder << " is not in the table";
    for (const auto& target : targets) {
      EXPECT_TRUE(allowed->second.contains(target)) << "src/" << folder << " must not include src/" << target;
    }
  }
}

// The reference and CPU back ends are behind kernels/backend.h: nobody above includes their insides.
TEST(Architecture, BackEndsAreReachedThroughTheirInterfaceOnly) {
  const fs::path src = fs::path(GLIMPSE_SOURCE_DIR) / "src";
  const std::regex inside(R"re(#\s*include\s+"kernels/(cpu|cuda|reference)/)re");
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    if (!entry.is_regular_file() || fs::relative(entry.path(), src).begin()->string() == "kernels") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      EXPECT_FALSE(std::regex_search(line, inside)) << entry.path() << ": " << line;
    }
  }
}

}  // namespace
