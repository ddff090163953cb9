#include "sampling/stop.h"

#include <algorithm>

namespace glimpse {

StopMatcher::Output StopMatcher::push(std::string_view text) {
  output_.clear();
  if (stopped_) return {output_, true};
  if (stop_.empty()) {
    output_ = text;
    return {output_, false};
  }
  pending_ += text;
  // The one that is complete first, and of those that end together the longest: which one begins first would depend on
  // how much text has come.
  size_t found = std::string::npos;
  size_t found_end = std::string::npos;
  for (const std::string& stop : stop_) {
    const size_t begin = pending_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end > found_end || (end == found_end && begin > found)) continue;
    found = begin;
    found_end = end;
  }
  if (found != std::string::npos) {
    output_.assign(pending_, 0, found);
    matched_.assign(pending_, found, found_end - found);
    pending_.clear();
    stopped_ = true;
    return {output_, true};
  }
  // The longest end of the text that begins a stop string stays.
  size_t keep = 0;
  for (const std::string& stop : stop_) {
    for (size_t length = std::min(stop.size() - 1, pending_.size()); length > keep; --length) {
      if (pending_.compare(pending_.size() - length, length, stop, 0, length) == 0) keep = length;
    }
  }
  output_.assign(pending_, 0, pending_.size() - keep);
  pending_.erase(0, pending_.size() - keep);
  return {output_, false};
}

std::string_view StopMatcher::finish() {
  output_ = std::move(pending_);
  pending_.clear();
  return output_;
}

}  // namespace glimpse
