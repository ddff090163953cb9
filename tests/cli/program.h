#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace glimpse {

// What a run of the built program printed, and its exit code (128 + signal when it was killed).
struct ProgramResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};

ProgramResult run_glimpse(const std::vector<std::string>& arguments);

// A folder of its own that is removed at the end.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }
  void write(const std::string& name, const std::string& content) const;
  // A copy of glimpse-mini's directory, whose files can be spoilt.
  void copy_mini(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

// The path of a sample picture of glimpse-mini.
std::string sample(const std::string& name);

}  // namespace glimpse
