#pragma once

// Uploaded pictures: bounded in bytes and number, expiring, each visible to the API key that sent it only. I/O thread.

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "server/options.h"
#include "server/picture.h"

namespace glimpse {

struct StoredFile {
  std::string id;  // "file-…", unguessable
  std::string owner;
  std::string filename;
  std::string purpose;
  int64_t created_s = 0;  // Unix time
  int width = 0;
  int height = 0;
  int64_t num_tokens = 0;
  PicturePtr picture;
  ImageRef image;                 // pins the embeddings while it is set
  std::vector<SpanRecord> spans;  // of preparing it
  std::string failure;            // why it could not be prepared
  int64_t used_ns = 0;
};
using FilePtr = std::shared_ptr<StoredFile>;

class FileStore {
 public:
  FileStore(const FileLimits& limits, const Clock& clock) : limits_(limits), clock_(clock) {}

  // Takes the file, making room by forgetting the owner's, then anyone's, least recently used ones. Errors: kTooLarge
  // when it alone is over a bound.
  Result<FilePtr> add(StoredFile file);
  // The owner's file, or null: another owner's does not exist either. Counts as a use.
  FilePtr find(const std::string& owner, std::string_view id);
  bool remove(const std::string& owner, std::string_view id);
  // Newest first.
  std::vector<FilePtr> list(const std::string& owner) const;

  // Keeps the embeddings of a file until it has not been used for pin_s, or pins exceed `max_tokens` in all: then the
  // least recently used file lets go.
  void pin(const FilePtr& file, ImageRef image, int64_t max_tokens);
  // Forgets what has expired; called now and then.
  void expire();

  size_t bytes() const { return bytes_; }
  size_t count() const { return files_.size(); }

 private:
  using Ages = std::list<FilePtr>;  // least recently used first
  void touch(Ages::iterator position);
  void forget(Ages::iterator position);

  const FileLimits& limits_;
  const Clock& clock_;
  Ages ages_;
  std::unordered_map<std::string, Ages::iterator> files_;  // by id
  std::unordered_map<std::string, size_t> owner_bytes_;
  size_t bytes_ = 0;
};

}  // namespace glimpse
