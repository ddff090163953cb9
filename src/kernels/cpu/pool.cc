#include "kernels/cpu/pool.h"

#include <immintrin.h>

#include <chrono>

namespace glimpse::cpu {

namespace {

constexpr auto kSpin = std::chrono::microseconds(100);

// Waits until value != old, spinning at first.
template <typename T>
void wait_until_changed(const std::atomic<T>& value, T old) {
  const auto deadline = std::chrono::steady_clock::now() + kSpin;
  while (true) {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      _mm_pause();
    }
    if (std::chrono::steady_clock::now() > deadline) break;
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(int num_threads) : num_threads_(num_threads < 1 ? 1 : num_threads) {
  workers_.reserve(static_cast<size_t>(num_threads_ - 1));
  for (int i = 1; i < num_threads_; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stopping_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Pool::run_region(Region region, const void* context) {
  const std::lock_guard lock(turn_);
  if (num_threads_ == 1) {
    region(context, 0);
    return;
  }
  region_ = region;
  context_ = context;
  unfinished_.store(num_threads_ - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  region(context, 0);
  for (int left; (left = unfinished_.load(std::memory_order_acquire)) != 0;) wait_until_changed(unfinished_, left);
}

void Pool::work(int thread_idx) {
  uint32_t seen = 0;
  while (true) {
    wait_until_changed(generation_, seen);
    ++seen;
    if (stopping_.load(std::memory_order_acquire)) return;
    region_(context_, thread_idx);
    if (unfinished_.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished_.notify_one();
  }
}

}  // namespace glimpse::cpu
