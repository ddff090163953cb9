#pragma once

// Stop strings in streamed text.

#include <string>
#include <string_view>
#include <vector>

namespace glimpse {

// Passes text on up to the first stop string, that is the one complete first (the longest of those that end together);
// holds back what may be the beginning of one. The result does not depend on how the text is cut into pieces.
class StopMatcher {
 public:
  explicit StopMatcher(std::vector<std::string> stop) : stop_(std::move(stop)) {}

  struct Output {
    std::string_view text;  // now certain; valid until the next call
    bool stopped = false;   // a stop string was found; nothing follows
  };
  Output push(std::string_view text);
  // What was held back, at the end of a text without a stop string.
  std::string_view finish();
  bool stopped() const { return stopped_; }
  // The stop string that was found; empty before.
  const std::string& matched() const { return matched_; }

 private:
  std::vector<std::string> stop_;
  std::string pending_;  // may be the beginning of a stop string
  std::string output_;
  std::string matched_;
  bool stopped_ = false;
};

}  // namespace glimpse
