#pragma once

// Read-only memory-mapped files.

#include <cstddef>
#include <span>
#include <string>

#include "base/result.h"

namespace glimpse {

// A whole file mapped read-only. Move-only; unmapped by the destructor. A file that shrinks while it is mapped raises
// SIGBUS on access, as with every mapping: checkpoints must not be edited while they are in use.
class MappedFile {
 public:
  // Errors: kNotFound (no such file), kInvalidData (a directory, or unreadable), each naming the path. An empty file
  // maps to an empty span.
  static Result<MappedFile> open(const std::string& path);

  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

  // Tells the kernel that the pages wholly inside `range` (a part of bytes()) are not needed any more: they leave the
  // process's resident set and are read again from the file if touched.
  void drop(std::span<const std::byte> range) const;
  // Asks for sequential read-ahead of `range`.
  void will_need(std::span<const std::byte> range) const;

 private:
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

// The whole of a small file as text. Errors as MappedFile::open, and kTooLarge above max_bytes.
Result<std::string> read_file(const std::string& path, size_t max_bytes);

}  // namespace glimpse
