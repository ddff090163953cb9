#include "kernels/cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/check.h"
#include "kernels/cuda/error.h"

namespace glimpse::cuda {

namespace {

constexpr size_t kSlotBytes = size_t{4} << 20;

}  // namespace

struct Uploader::Lane {
  Lane() {
    CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    for (int i = 0; i < 2; ++i) {
      CUDA_CHECK(cudaEventCreateWithFlags(&events[i], cudaEventDisableTiming));
      CUDA_CHECK(cudaMallocHost(&slots[i], kSlotBytes));
    }
  }
  ~Lane() {
    for (int i = 0; i < 2; ++i) {
      cudaEventDestroy(events[i]);
      cudaFreeHost(slots[i]);
    }
    cudaStreamDestroy(stream);
  }

  cudaStream_t stream = nullptr;
  cudaEvent_t events[2] = {};
  void* slots[2] = {};
  int turn = 0;
};

Uploader::Uploader(int num_threads) {
  lanes_.resize(static_cast<size_t>(std::max(1, num_threads)));
}

Uploader::~Uploader() = default;

void Uploader::run(void* device, int64_t count, size_t row_bytes, const Backend::RowWriter& write) {
  if (count == 0) return;
  CHECK(row_bytes > 0 && row_bytes <= kSlotBytes, row_bytes);
  const std::lock_guard lock(mutex_);
  int current_device = 0;
  CUDA_CHECK(cudaGetDevice(&current_device));
  const auto rows_per_piece = static_cast<int64_t>(kSlotBytes / row_bytes);
  const int64_t pieces = (count + rows_per_piece - 1) / rows_per_piece;
  std::atomic<int64_t> next{0};
  const auto work = [&](size_t index) {
    CUDA_CHECK(cudaSetDevice(current_device));
    std::unique_ptr<Lane>& lane = lanes_[index];
    if (lane == nullptr) lane = std::make_unique<Lane>();
    for (int64_t piece = next.fetch_add(1); piece < pieces; piece = next.fetch_add(1)) {
      const int64_t first = piece * rows_per_piece;
      const int64_t here = std::min(rows_per_piece, count - first);
      const int slot = lane->turn;
      lane->turn = 1 - slot;
      CUDA_CHECK(cudaEventSynchronize(lane->events[slot]));  // its last copy has left
      write(first, here, static_cast<std::byte*>(lane->slots[slot]));
      CUDA_CHECK(cudaMemcpyAsync(static_cast<std::byte*>(device) + static_cast<size_t>(first) * row_bytes,
                                 lane->slots[slot], static_cast<size_t>(here) * row_bytes, cudaMemcpyHostToDevice,
                                 lane->stream));
      CUDA_CHECK(cudaEventRecord(lane->events[slot], lane->stream));
    }
    CUDA_CHECK(cudaStreamSynchronize(lane->stream));
  };
  const auto helpers = static_cast<size_t>(std::min<int64_t>(pieces, static_cast<int64_t>(lanes_.size()))) - 1;
  std::vector<std::jthread> threads;
  threads.reserve(helpers);
  for (size_t i = 0; i < helpers; ++i) threads.emplace_back(work, i + 1);
  work(0);
}

}  // namespace glimpse::cuda
