#pragma once

// What the driver says of the device, for /load. The driver may take long to answer (NVML's first call, a card in
// trouble), so a thread of its own asks, one question at a time and only when someone wants to know.

#include "base/clock.h"
#include "engine/engine.h"
#include "server/work_pool.h"

namespace glimpse {

class DeviceWatch {
 public:
  DeviceWatch(const Engine& engine, const Clock& clock) : engine_(engine), clock_(clock) {}

  // A fresh reading; the last one where that is not old, or where the driver still owes an answer to somebody else.
  // I/O thread only.
  Task<DeviceUsage> read() {
    if (asker_.waiting() == 0 && (!read_ns_ || clock_.now_ns() - *read_ns_ >= kFreshNs)) {
      last_ = co_await asker_.run([this] { return engine_.device_usage(); });
      read_ns_ = clock_.now_ns();
    }
    co_return last_;
  }

  void stop() { asker_.stop(); }

 private:
  // NVML's own figure of the busy share changes hardly more often.
  static constexpr int64_t kFreshNs = 100'000'000;

  const Engine& engine_;
  const Clock& clock_;
  WorkPool asker_{1};
  DeviceUsage last_;
  std::optional<int64_t> read_ns_;
};

}  // namespace glimpse
