#include "grammar/mask_cache.h"

namespace glimpse {

std::shared_ptr<const LocalMask> MaskCache::find(uint64_t key) const {
  const std::lock_guard lock(mutex_);
  const auto found = masks_.find(key);
  return found == masks_.end() ? nullptr : found->second;
}

void MaskCache::put(uint64_t key, std::shared_ptr<const LocalMask> mask) {
  const size_t size = sizeof(LocalMask) + 64 + mask->bits.size() * 8 + (mask->ids.size() + mask->leaves.size()) * 4;
  const std::lock_guard lock(mutex_);
  if (bytes_ + size > kMaxBytes) {
    masks_.clear();
    bytes_ = 0;
  }
  if (masks_.emplace(key, std::move(mask)).second) bytes_ += size;
}

}  // namespace glimpse
