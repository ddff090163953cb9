#pragma once

// Time, handed in: tests use a clock of their own.

#include <chrono>
#include <cstdint>

namespace glimpse {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds on one monotonic scale with an arbitrary zero.
  virtual int64_t now_ns() const = 0;
};

class SteadyClock final : public Clock {
 public:
  int64_t now_ns() const override {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
};

}  // namespace glimpse
