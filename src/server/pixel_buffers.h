#pragma once

// Buffers for the vision tower's input, reused: pictures of one size in a row allocate nothing.

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

namespace glimpse {

class PixelBuffers : public std::enable_shared_from_this<PixelBuffers> {
 public:
  // Keeps at most that many bytes of unused buffers.
  explicit PixelBuffers(size_t max_idle_bytes) : max_idle_bytes_(max_idle_bytes) {}

  // At least `bytes`, 64-byte aligned, contents unspecified; null when there is no memory. Goes back to the pool when
  // the last reference is dropped, on whatever thread.
  std::shared_ptr<std::byte> take(size_t bytes);

  size_t idle_bytes() const;

 private:
  struct Buffer {
    std::byte* data = nullptr;
    size_t capacity = 0;
  };
  struct FreeAll {
    ~FreeAll();
    std::vector<Buffer> buffers;
  };

  void give_back(Buffer buffer);

  const size_t max_idle_bytes_;
  mutable std::mutex mutex_;
  FreeAll idle_;  // guarded by mutex_
  size_t idle_bytes_ = 0;
};

}  // namespace glimpse
