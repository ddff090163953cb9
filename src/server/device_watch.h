#pragma once

// What the driver says of the device, for /load. The driver may take long to answer (NVML's first call, a card in
// trouble), so a thread of its own asks, one question at a time and only when someone wants to know.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "engine/engine.h"
#include "server/log.h"
#include "server/work_pool.h"

namespace glimpse {

class DeviceWatch {
 public:
  DeviceWatch(asio::io_context& io, const Engine& engine, const Clock& clock)
      : io_(io), engine_(engine), clock_(clock), answered_(io) {}

  // A fresh reading; the last one where that is not old, where somebody else's question is under way, or where the
  // driver has not answered within two seconds. I/O thread only.
  Task<DeviceUsage> read() {
    if (!asking_ && (!read_ns_ || clock_.now_ns() - *read_ns_ >= kFreshNs)) {
      asking_ = true;
      asio::co_spawn(io_, ask(), asio::detached);
      answered_.expires_after(std::chrono::seconds(2));
      error_code ignored;
      co_await answered_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    co_return last_;
  }

  // After the I/O. A driver that does not answer would hold up the engine's end as well, for ever.
  void stop() {
    for (int i = 0; busy_ && i < 200; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (busy_) {
      log_error("the device's driver does not answer: ending without it");
      std::_Exit(1);
    }
    asker_.stop();
  }

 private:
  // NVML's own figure of the busy share changes hardly more often.
  static constexpr int64_t kFreshNs = 100'000'000;

  Task<void> ask() {
    last_ = co_await asker_.run([this] {
      busy_ = true;
      const DeviceUsage usage = engine_.device_usage();
      busy_ = false;
      return usage;
    });
    read_ns_ = clock_.now_ns();
    asking_ = false;
    answered_.cancel();
  }

  asio::io_context& io_;
  const Engine& engine_;
  const Clock& clock_;
  asio::steady_timer answered_;
  bool asking_ = false;
  std::atomic<bool> busy_{false};  // the driver owes an answer
  DeviceUsage last_;
  std::optional<int64_t> read_ns_;
  WorkPool asker_{1};  // last: its end waits for the question under way
};

}  // namespace glimpse
