// The table of includes between the folders of src/ is the architecture. This test prints it and compares it with the
// one written here; when an arrow is added on purpose, it is added here and in ARCHITECTURE.md in the same commit.

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>
#include <string>

namespace {

namespace fs = std::filesystem;
using Arrows = std::map<std::string, std::set<std::string>>;

// Everything may use base; that is not listed.
const Arrows kAllowed = {
    {"base", {}},
    {"page", {}},
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
    {"bundle", {"image", "model", "processor", "tokenizer", "weights"}},
    {"grammar", {"sampling", "tokenizer"}},
    {"api", {"bundle", "engine", "grammar", "model", "processor", "sampling", "tokenizer"}},
    {"server", {"api", "bundle", "engine", "image", "model", "page", "processor", "sampling", "tensor", "tokenizer"}},
    {"cli",
     {"api", "bundle", "engine", "image", "kernels", "model", "processor", "sampling", "server", "tensor", "tokenizer",
      "weights"}},
};

// The path of an #include "..." line, or nothing.
std::string included(const std::string& line) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == std::string::npos || line[hash] != '#') return {};
  const size_t word = line.find("include", hash);
  const size_t open = line.find('"', hash);
  if (word == std::string::npos || open == std::string::npos || open < word) return {};
  const size_t close = line.find('"', open + 1);
  return close == std::string::npos ? std::string() : line.substr(open + 1, close - open - 1);
}

Arrows read_arrows(const fs::path& src) {
  Arrows arrows;
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    const std::string extension = entry.path().extension().string();
    if (extension != ".h" && extension != ".cc" && extension != ".inc" && extension != ".cu") continue;
    const std::string folder = fs::relative(entry.path(), src).begin()->string();
    arrows[folder];
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const std::string path = included(line);
      const std::string target = path.substr(0, std::min(path.find('/'), path.size()));
      if (path.find('/') != std::string::npos && target != folder && target != "base") arrows[folder].insert(target);
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
  for (const auto& entry : fs::recursive_directory_iterator(src)) {
    if (!entry.is_regular_file() || fs::relative(entry.path(), src).begin()->string() == "kernels") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      const std::string path = included(line);
      for (const char* inside : {"kernels/cpu/", "kernels/cuda/", "kernels/reference/"}) {
        EXPECT_NE(path.rfind(inside, 0), 0u) << entry.path() << ": " << line;
      }
    }
  }
}

}  // namespace
