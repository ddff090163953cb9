#include "kernels/cpu/pool.h"

#include <immintrin.h>
#include <sched.h>

#include <chrono>

namespace glimpse::cpu {

namespace {

constexpr auto kSpin = std::chrono::microseconds(100);
constexpr uint64_t kOpen = uint64_t{1} << 31;

// Waits until value != old, spinning at first. Whoever else wants the processor gets it meanwhile: the thread that
// reads the next request, say.
template <typename T>
void wait_until_changed(const std::atomic<T>& value, T old) {
  std::chrono::steady_clock::time_point deadline{};
  while (true) {
    for (int i = 0; i < 64; ++i) {
      if (value.load(std::memory_order_acquire) != old) return;
      _mm_pause();
    }
    const auto now = std::chrono::steady_clock::now();
    if (deadline == std::chrono::steady_clock::time_point{}) deadline = now + kSpin;
    if (now > deadline) break;
    sched_yield();
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
  left_.store(0, std::memory_order_relaxed);
  const uint32_t generation = generation_.load(std::memory_order_relaxed) + 1;
  gate_.store(uint64_t{generation} << 32 | kOpen, std::memory_order_release);
  generation_.store(generation, std::memory_order_release);  // behind the gate: who sees this sees the gate open
  generation_.notify_all();
  region(context, 0);
  const uint64_t closed = gate_.fetch_and(~kOpen, std::memory_order_acq_rel);
  const auto joined = static_cast<uint32_t>(closed & (kOpen - 1));
  for (uint32_t left; (left = left_.load(std::memory_order_acquire)) != joined;) wait_until_changed(left_, left);
}

void Pool::work(int thread_idx) {
  uint32_t seen = 0;
  while (true) {
    wait_until_changed(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    uint64_t gate = gate_.load(std::memory_order_acquire);
    bool joined = false;
    while (gate >> 32 == seen && (gate & kOpen) != 0 && !joined) {
      joined = gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel, std::memory_order_acquire);
    }
    if (!joined) continue;
    region_(context_, thread_idx);
    left_.fetch_add(1, std::memory_order_acq_rel);
    left_.notify_one();
  }
}

}  // namespace glimpse::cpu
