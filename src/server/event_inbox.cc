#include "server/event_inbox.h"

namespace glimpse {

EventCallback EventInbox::callback(std::shared_ptr<EventTarget> target, int index) {
  return [inbox = shared_from_this(), target = std::move(target), index](EngineEvent event) {
    inbox->push({target, index, std::move(event)});
  };
}

void EventInbox::push(Item item) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = items_.empty();
    items_.push_back(std::move(item));
  }
  if (first) asio::post(io_, [inbox = shared_from_this()] { inbox->deliver(); });
}

void EventInbox::deliver() {
  {
    const std::lock_guard lock(mutex_);
    std::swap(items_, delivering_);
  }
  for (Item& item : delivering_) item.target->on_event(item.index, std::move(item.event));
  delivering_.clear();
}

}  // namespace glimpse
