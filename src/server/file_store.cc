#include "server/file_store.h"

#include <fmt/format.h>

namespace glimpse {

Result<FilePtr> FileStore::add(StoredFile file) {
  const size_t size = file.picture->bytes.size();
  const size_t bound = std::min(limits_.max_bytes, limits_.max_bytes_per_owner);
  if (size > bound) {
    return Error{ErrorCode::kTooLarge, fmt::format("the file has {} bytes; at most {} are kept", size, bound)};
  }
  while (!ages_.empty() && owner_bytes_[file.owner] + size > limits_.max_bytes_per_owner) {
    auto oldest = ages_.begin();
    while ((*oldest)->owner != file.owner) ++oldest;
    forget(oldest);
  }
  while (!ages_.empty() && (bytes_ + size > limits_.max_bytes || files_.size() >= limits_.max_count)) {
    forget(ages_.begin());
  }
  file.id = "file-" + random_hex(12);
  file.used_ns = clock_.now_ns();
  auto stored = std::make_shared<StoredFile>(std::move(file));
  files_.emplace(stored->id, ages_.insert(ages_.end(), stored));
  owner_bytes_[stored->owner] += size;
  bytes_ += size;
  return stored;
}

FilePtr FileStore::find(const std::string& owner, std::string_view id) {
  const auto found = files_.find(std::string(id));
  if (found == files_.end() || (*found->second)->owner != owner) return nullptr;
  touch(found->second);
  return *found->second;
}

bool FileStore::remove(const std::string& owner, std::string_view id) {
  const auto found = files_.find(std::string(id));
  if (found == files_.end() || (*found->second)->owner != owner) return false;
  forget(found->second);
  return true;
}

std::vector<FilePtr> FileStore::list(const std::string& owner) const {
  std::vector<FilePtr> files;
  for (auto file = ages_.rbegin(); file != ages_.rend(); ++file) {
    if ((*file)->owner == owner) files.push_back(*file);
  }
  return files;
}

void FileStore::pin(const FilePtr& file, ImageRef image, int64_t max_tokens) {
  file->image = std::move(image);
  int64_t pinned = 0;
  for (auto other = ages_.rbegin(); other != ages_.rend(); ++other) {
    if (!(*other)->image) continue;
    pinned += (*other)->image->num_tokens();
    if (pinned > max_tokens && *other != file) (*other)->image = nullptr;
  }
}

void FileStore::expire() {
  const int64_t now_ns = clock_.now_ns();
  for (auto file = ages_.begin(); file != ages_.end();) {
    const auto next = std::next(file);
    const int64_t unused_s = (now_ns - (*file)->used_ns) / 1'000'000'000;
    if (unused_s >= limits_.pin_s) (*file)->image = nullptr;
    if (unused_s >= limits_.lifetime_s) forget(file);
    file = next;
  }
}

void FileStore::touch(Ages::iterator position) {
  (*position)->used_ns = clock_.now_ns();
  ages_.splice(ages_.end(), ages_, position);
}

void FileStore::forget(Ages::iterator position) {
  const FilePtr file = *position;
  bytes_ -= file->picture->bytes.size();
  const auto owner = owner_bytes_.find(file->owner);
  owner->second -= file->picture->bytes.size();
  if (owner->second == 0) owner_bytes_.erase(owner);
  files_.erase(file->id);
  ages_.erase(position);
}

}  // namespace glimpse
