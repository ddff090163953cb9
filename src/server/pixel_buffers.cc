#include "server/pixel_buffers.h"

namespace glimpse {

namespace {

// Sizes are rounded up, so that pictures of about one size share buffers.
constexpr size_t kGranule = size_t{256} << 10;

}  // namespace

std::shared_ptr<std::byte> PixelBuffers::take(size_t bytes) {
  const size_t wanted = (bytes + kGranule - 1) / kGranule * kGranule;
  Buffer buffer;
  {
    const std::lock_guard lock(mutex_);
    size_t best = idle_.size();
    for (size_t i = 0; i < idle_.size(); ++i) {
      // Not one that is twice as big: it would be missed by the picture it fits.
      if (idle_[i].bytes() < wanted || idle_[i].bytes() > 2 * wanted) continue;
      if (best == idle_.size() || idle_[i].bytes() < idle_[best].bytes()) best = i;
    }
    if (best < idle_.size()) {
      buffer = std::move(idle_[best]);
      if (best + 1 < idle_.size()) idle_[best] = std::move(idle_.back());
      idle_.pop_back();
      idle_bytes_ -= buffer.bytes();
    }
  }
  if (buffer.data() == nullptr) {
    auto made = allocate_(wanted);
    if (!made) return nullptr;
    buffer = *std::move(made);
  }
  auto held = std::make_shared<Buffer>(std::move(buffer));
  auto* data = held->as<std::byte>();
  return {data, [pool = shared_from_this(), held](std::byte*) { pool->give_back(std::move(*held)); }};
}

void PixelBuffers::give_back(Buffer buffer) {
  const std::lock_guard lock(mutex_);
  if (idle_bytes_ + buffer.bytes() > max_idle_bytes_) return;  // freed
  idle_bytes_ += buffer.bytes();
  idle_.push_back(std::move(buffer));
}

size_t PixelBuffers::idle_bytes() const {
  const std::lock_guard lock(mutex_);
  return idle_bytes_;
}

}  // namespace glimpse
