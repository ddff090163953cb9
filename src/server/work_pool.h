#pragma once

// Threads for work that would keep the I/O thread from its sockets.

#include <atomic>
#include <optional>
#include <type_traits>

#include "server/asio.h"

namespace glimpse {

// Told when the client has gone; read by whoever is about to begin something long.
using CancelFlag = std::shared_ptr<std::atomic<bool>>;

class WorkPool {
 public:
  explicit WorkPool(int threads) : threads_(static_cast<size_t>(threads)) {}
  ~WorkPool() { stop(); }

  // Runs `function` on one of the threads; the caller goes on where it was. What it refers to has to live until then:
  // the pool is stopped before anything else is taken down.
  template <typename Function>
  Task<std::invoke_result_t<Function>> run(Function function) {
    std::optional<std::invoke_result_t<Function>> result;
    auto work = [&]() -> Task<void> {
      result.emplace(function());
      co_return;
    };
    ++waiting_;
    co_await asio::co_spawn(threads_, std::move(work), asio::use_awaitable);
    --waiting_;
    co_return std::move(*result);
  }

  // Jobs given and not yet done. I/O thread only.
  size_t waiting() const { return waiting_; }

  // Finishes what has begun, drops what has not.
  void stop() {
    threads_.stop();
    threads_.join();
  }

 private:
  asio::thread_pool threads_;
  size_t waiting_ = 0;
};

}  // namespace glimpse
