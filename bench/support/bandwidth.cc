#include "bench/support/bandwidth.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

namespace glimpse {

namespace {

// Eight streams, as wide as the processor allows.
__attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3", "fast-math"))) float sum(const float* data,
                                                                                                    size_t count) {
  constexpr size_t kStreams = 8;
  const size_t part = count / kStreams;
  float total[kStreams][16] = {};
  for (size_t i = 0; i + 16 <= part; i += 16) {
    for (size_t s = 0; s < kStreams; ++s) {
      for (size_t j = 0; j < 16; ++j) total[s][j] += data[s * part + i + j];
    }
  }
  float all = 0;
  for (const auto& stream : total) {
    for (const float value : stream) all += value;
  }
  return all;
}

}  // namespace

BandwidthMeter::BandwidthMeter(int threads, size_t bytes) : threads_(threads), bytes_(bytes) {
  data_ = static_cast<float*>(std::aligned_alloc(size_t{2} << 20, bytes));
  ::madvise(data_, bytes, MADV_HUGEPAGE);
  for (size_t i = 0; i < bytes / sizeof(float); ++i) data_[i] = 1.0f;
}

BandwidthMeter::~BandwidthMeter() {
  std::free(data_);
}

double BandwidthMeter::read(double seconds) {
  using Clock = std::chrono::steady_clock;
  std::atomic<size_t> read{0};
  std::atomic<float> sink{0};
  const auto start = Clock::now();
  const auto deadline = start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::vector<std::thread> workers;
  for (int t = 0; t < threads_; ++t) {
    workers.emplace_back([&, t] {
      const size_t share = bytes_ / sizeof(float) / static_cast<size_t>(threads_);
      const float* mine = data_ + share * static_cast<size_t>(t);
      constexpr size_t kPiece = size_t{4} << 20;  // floats: 16 MiB between looks at the clock
      for (size_t at = 0; Clock::now() < deadline; at = at + kPiece < share ? at + kPiece : 0) {
        const size_t count = at + kPiece < share ? kPiece : share - at;
        sink.store(sum(mine + at, count), std::memory_order_relaxed);
        read.fetch_add(count * sizeof(float), std::memory_order_relaxed);
      }
    });
  }
  for (auto& worker : workers) worker.join();
  return static_cast<double>(read.load()) / std::chrono::duration<double>(Clock::now() - start).count();
}

double BandwidthMeter::read_busy(double seconds) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  };
  constexpr size_t kPiece = size_t{4} << 20;
  const size_t total = bytes_ / sizeof(float);
  std::atomic<float> sink{0};
  double read = 0;
  const double begin = now();
  for (size_t at = 0; now() - begin < seconds; at = at + kPiece < total ? at + kPiece : 0) {
    const size_t count = std::min(kPiece, total - at);
    sink.store(sum(data_ + at, count), std::memory_order_relaxed);
    read += static_cast<double>(count * sizeof(float));
  }
  return read / (now() - begin);
}

}  // namespace glimpse
