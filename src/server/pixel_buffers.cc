#include "server/pixel_buffers.h"

#include <cstdlib>

namespace glimpse {

namespace {

constexpr size_t kAlignment = 64;
// Sizes are rounded up, so that pictures of about one size share buffers.
constexpr size_t kGranule = size_t{256} << 10;

}  // namespace

PixelBuffers::FreeAll::~FreeAll() {
  for (const Buffer& buffer : buffers) std::free(buffer.data);
}

std::shared_ptr<std::byte> PixelBuffers::take(size_t bytes) {
  const size_t wanted = (bytes + kGranule - 1) / kGranule * kGranule;
  Buffer buffer;
  {
    const std::lock_guard lock(mutex_);
    auto& idle = idle_.buffers;
    size_t best = idle.size();
    for (size_t i = 0; i < idle.size(); ++i) {
      // Not one that is twice as big: it would be missed by the picture it fits.
      if (idle[i].capacity < wanted || idle[i].capacity > 2 * wanted) continue;
      if (best == idle.size() || idle[i].capacity < idle[best].capacity) best = i;
    }
    if (best < idle.size()) {
      buffer = idle[best];
      idle[best] = idle.back();
      idle.pop_back();
      idle_bytes_ -= buffer.capacity;
    }
  }
  if (buffer.data == nullptr) {
    buffer = {static_cast<std::byte*>(std::aligned_alloc(kAlignment, wanted)), wanted};
    if (buffer.data == nullptr) return nullptr;
  }
  return {buffer.data, [pool = shared_from_this(), buffer](std::byte*) { pool->give_back(buffer); }};
}

void PixelBuffers::give_back(Buffer buffer) {
  {
    const std::lock_guard lock(mutex_);
    if (idle_bytes_ + buffer.capacity <= max_idle_bytes_) {
      idle_.buffers.push_back(buffer);
      idle_bytes_ += buffer.capacity;
      return;
    }
  }
  std::free(buffer.data);
}

size_t PixelBuffers::idle_bytes() const {
  const std::lock_guard lock(mutex_);
  return idle_bytes_;
}

}  // namespace glimpse
