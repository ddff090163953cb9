#pragma once

// The CPU back end's threads. A region runs one function on every thread at once; between the regions of one step the
// workers spin for at most 100 microseconds, then sleep, so that an idle process uses no CPU.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace glimpse::cpu {

class Pool {
 public:
  // num_threads counts the caller of run(); at least 1.
  explicit Pool(int num_threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls body(thread_idx) once on each thread, thread_idx in [0, num_threads), and returns when all are done. Several
  // threads may call run(); their regions take turns. A body may not call run().
  template <typename Body>
  void run(const Body& body) {
    run_region([](const void* context, int thread_idx) { (*static_cast<const Body*>(context))(thread_idx); }, &body);
  }

  // Calls body(begin, end) for pieces of [0, count) of at most `grain` items, handed out to threads as they get free.
  template <typename Body>
  void for_each(int64_t count, int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (count <= grain || num_threads_ == 1) {
      body(int64_t{0}, count);
      return;
    }
    std::atomic<int64_t> next{0};
    run([&](int) {
      for (int64_t begin; (begin = next.fetch_add(grain, std::memory_order_relaxed)) < count;) {
        body(begin, begin + grain < count ? begin + grain : count);
      }
    });
  }

 private:
  using Region = void (*)(const void* context, int thread_idx);

  void run_region(Region region, const void* context);
  void work(int thread_idx);

  const int num_threads_;
  std::mutex turn_;  // held by the caller of run() for the length of its region
  Region region_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<uint32_t> generation_{0};  // counts regions; a worker joins each exactly once
  std::atomic<int> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace glimpse::cpu
