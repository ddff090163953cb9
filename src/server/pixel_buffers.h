#pragma once

// Buffers for the vision tower's input, reused: pictures of one size in a row allocate nothing.

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/result.h"
#include "tensor/buffer.h"

namespace glimpse {

class PixelBuffers : public std::enable_shared_from_this<PixelBuffers> {
 public:
  using Allocate = std::function<Result<Buffer>(size_t bytes)>;

  // Keeps at most that many bytes of unused buffers.
  PixelBuffers(Allocate allocate, size_t max_idle_bytes)
      : allocate_(std::move(allocate)), max_idle_bytes_(max_idle_bytes) {}

  // At least `bytes`, 64-byte aligned, contents unspecified; null when there is no memory. Goes back to the pool when
  // the last reference is dropped, on whatever thread.
  std::shared_ptr<std::byte> take(size_t bytes);

  size_t idle_bytes() const;

 private:
  void give_back(Buffer buffer);

  const Allocate allocate_;
  const size_t max_idle_bytes_;
  mutable std::mutex mutex_;
  std::vector<Buffer> idle_;  // guarded by mutex_
  size_t idle_bytes_ = 0;
};

}  // namespace glimpse
