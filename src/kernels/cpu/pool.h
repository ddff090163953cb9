#pragma once

// The CPU back end's threads. A region runs one function on several threads at once; between the regions of one step
// the workers spin for at most 100 microseconds, then sleep, so that an idle process uses no CPU.
//
// Nobody waits for a thread that is late: the caller works from the start, and when it finds nothing left to do the
// region is closed. A worker that the system has put aside for somebody else joins the next one. Those who have joined
// are waited for, so pieces of work should be small.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace glimpse::cpu {

// The items [0, count) of a region, cut into one range for each thread. A thread takes pieces of its own range until
// none is left, then of the others'. So from op to op a thread meets what it has written itself: a line that another
// core has changed takes as long to fetch as one from the last-level cache or longer.
class Shares {
 public:
  // Pieces have at most `grain` items.
  Shares(int64_t count, int64_t grain, int num_threads)
      : grain_(grain), num_ranges_(num_threads < kMaxRanges ? num_threads : kMaxRanges) {
    const int64_t pieces = (count + grain - 1) / grain;
    for (int i = 0; i < num_ranges_; ++i) {
      const int64_t end = pieces * (i + 1) / num_ranges_ * grain;
      ranges_[i].next.store(pieces * i / num_ranges_ * grain, std::memory_order_relaxed);
      ranges_[i].end = end < count ? end : count;
    }
  }

  // Calls body(begin, end) for pieces until all are taken.
  template <typename Body>
  void take(int thread_idx, const Body& body) {
    for (int i = 0; i < num_ranges_; ++i) {
      Range& range = ranges_[(thread_idx + i) % num_ranges_];
      for (int64_t begin; (begin = range.next.fetch_add(grain_, std::memory_order_relaxed)) < range.end;) {
        body(begin, begin + grain_ < range.end ? begin + grain_ : range.end);
      }
    }
  }

 private:
  static constexpr int kMaxRanges = 64;
  struct alignas(64) Range {
    std::atomic<int64_t> next;
    int64_t end;
  };
  const int64_t grain_;
  const int num_ranges_;
  Range ranges_[kMaxRanges];
};

class Pool {
 public:
  // num_threads counts the caller of run(); at least 1.
  explicit Pool(int num_threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int num_threads() const { return num_threads_; }

  // Calls body(0) on the calling thread and body(thread_idx), thread_idx in [1, num_threads), on the workers that come
  // before that call returns; returns when all are done. So one call has to be able to do all the work: body takes
  // pieces of it until none is left. Several threads may call run(); their regions take turns. A body may not call
  // run().
  template <typename Body>
  void run(const Body& body) {
    run_region([](const void* context, int thread_idx) { (*static_cast<const Body*>(context))(thread_idx); }, &body);
  }

  // Calls body(begin, end) for pieces of [0, count) of at most `grain` items, handed out by Shares.
  template <typename Body>
  void for_each(int64_t count, int64_t grain, const Body& body) {
    if (count <= 0) return;
    if (count <= grain || num_threads_ == 1) {
      body(int64_t{0}, count);
      return;
    }
    Shares shares(count, grain, num_threads_);
    run([&](int thread_idx) { shares.take(thread_idx, body); });
  }

 private:
  using Region = void (*)(const void* context, int thread_idx);

  void run_region(Region region, const void* context);
  void work(int thread_idx);

  const int num_threads_;
  std::mutex turn_;  // held by the caller of run() for the length of its region
  // Of the open region; read only by those who have joined it, and not changed before they have left.
  Region region_ = nullptr;
  const void* context_ = nullptr;
  std::atomic<uint64_t> gate_{0};        // generation << 32 | open << 31 | workers that have joined
  std::atomic<uint32_t> generation_{0};  // counts regions; what workers wait for
  std::atomic<uint32_t> left_{0};        // workers that have joined the region and left it
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> workers_;
};

}  // namespace glimpse::cpu
