#pragma once

// How this folder asks its caller for threads: it owns none. The engine hands in its pool, tests and tools nothing.

#include <cstdint>
#include <functional>

namespace glimpse {

using RangeBody = std::function<void(int64_t begin, int64_t end)>;

// Runs body over disjoint ranges that together are [0, count), in any order and on any threads, and returns when all
// are done. An empty ParallelFor means the calling thread does everything.
using ParallelFor = std::function<void(int64_t count, const RangeBody& body)>;

inline void run_ranges(const ParallelFor& parallel, int64_t count, const RangeBody& body) {
  if (parallel) {
    parallel(count, body);
  } else {
    body(0, count);
  }
}

}  // namespace glimpse
