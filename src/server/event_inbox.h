#pragma once

// From the engine's thread to the I/O thread: what a step produced for many requests wakes the I/O thread once.

#include <memory>
#include <mutex>
#include <vector>

#include "engine/request.h"
#include "server/asio.h"

namespace glimpse {

// Receives a request's events on the I/O thread.
class EventTarget {
 public:
  virtual ~EventTarget() = default;
  virtual void on_event(int index, EngineEvent event) = 0;
};

class EventInbox : public std::enable_shared_from_this<EventInbox> {
 public:
  explicit EventInbox(asio::io_context& io) : io_(io) {}

  // The callback of an engine request: `index` tells the target which of its requests it was. Keeps target and inbox
  // alive until the engine drops it.
  EventCallback callback(std::shared_ptr<EventTarget> target, int index);

 private:
  struct Item {
    std::shared_ptr<EventTarget> target;
    int index = 0;
    EngineEvent event;
  };

  void push(Item item);
  void deliver();

  asio::io_context& io_;
  std::mutex mutex_;
  std::vector<Item> items_;       // guarded by mutex_, which is held for a push_back or a swap only
  std::vector<Item> delivering_;  // I/O thread
};

}  // namespace glimpse
