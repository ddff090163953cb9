#pragma once

// A model's files by name, whether they lie in a directory or inside the executable. Knows nothing of what is in them.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glimpse {

struct MemoryFile {
  std::string name;
  std::span<const std::byte> bytes;  // outlives the set
};

// A cheap handle: copies share the mappings, which live as long as any copy. Thread-safe.
// File names are plain: one with a slash, "." or ".." is refused (they come out of index files).
class FileSet {
 public:
  // The files of a directory, opened when they are asked for. Errors: kNotFound, or kInvalidData when it is not a
  // directory.
  static Result<FileSet> open(const std::string& directory);
  // Files in memory; `label` stands for the directory in messages ("(built-in)").
  static FileSet from_memory(std::string label, std::vector<MemoryFile> files);

  // How messages call a file: "dir/name".
  std::string path(std::string_view name) const;
  const std::string& label() const;
  bool contains(std::string_view name) const;
  // The names that end in `suffix`, sorted.
  std::vector<std::string> list(std::string_view suffix) const;

  // A whole file, mapped at the first call; the view lives as long as the set. Errors as MappedFile::open.
  Result<std::span<const std::byte>> bytes(std::string_view name) const;
  // A whole small file, copied. Errors as read_file.
  Result<std::string> text(std::string_view name, size_t max_bytes) const;

  // The pages wholly inside `range`, a part of bytes(name), are not needed any more: they leave the process's resident
  // set, and come back from the file if they are touched. Nothing happens for files in memory, whose pages belong to
  // the executable.
  void drop(std::string_view name, std::span<const std::byte> range) const;

 private:
  struct State;
  explicit FileSet(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace glimpse
