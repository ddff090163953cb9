#pragma once

// Packed weights kept in a file, so that the next start maps them instead of quantising again.
//   "glimpse-packed 1\n" | blobs, each on a page of its own | JSON index | u64 offset of the index | u64 its size
// The index holds the key (what the weights were made from, and for which layout) and each blob's place. Files are
// written under a temporary name and renamed when they are whole; a file that does not fit is ignored and rewritten.

#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <span>
#include <string>

#include "base/mmap.h"
#include "base/result.h"

namespace glimpse {

class PackedCache {
 public:
  // Reads the file at `path` if it has this key; otherwise prepares to write it. Whether writing works out is only
  // known at finish().
  static std::unique_ptr<PackedCache> open(const std::string& path, const std::string& key);
  ~PackedCache();

  bool reading() const { return file_ != nullptr; }
  // A blob of the mapped file (page-aligned, valid as long as `mapping()`), or empty.
  std::span<const std::byte> find(const std::string& name) const;
  // Keeps find()'s spans alive.
  std::shared_ptr<const MappedFile> mapping() const { return file_; }

  // Writing: appends a blob. A failure (disk full) stops the writing; finish() tells.
  void add(const std::string& name, std::span<const std::byte> bytes);
  // Writing: completes and renames the file. Errors: kResource; nothing is left behind then.
  Status finish();

 private:
  struct Place {
    uint64_t offset = 0;
    uint64_t size = 0;
  };

  PackedCache() = default;
  bool load();
  void write(const void* data, size_t bytes);

  std::string path_;
  std::string key_;
  std::map<std::string, Place> places_;
  std::shared_ptr<const MappedFile> file_;
  std::string temporary_path_;
  std::FILE* out_ = nullptr;
  uint64_t written_ = 0;
  int write_errno_ = 0;
};

}  // namespace glimpse
