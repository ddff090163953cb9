#pragma once

// Host memory to device memory at the rate of the bus: worker threads write pieces into pinned buffers, several of
// which are on their way at any time.

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels/backend.h"

namespace glimpse::cuda {

class Uploader {
 public:
  explicit Uploader(int num_threads);
  ~Uploader();

  // See Backend::fill.
  void run(void* device, int64_t count, size_t row_bytes, const Backend::RowWriter& write);

 private:
  struct Lane;  // one worker's two slots and stream

  std::mutex mutex_;  // one run at a time
  std::vector<std::unique_ptr<Lane>> lanes_;
};

}  // namespace glimpse::cuda
