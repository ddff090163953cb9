#pragma once

#include <chrono>
#include <string_view>

#include "engine/runner.h"

namespace glimpse {

// Loading progress on stderr: a bar on a terminal, a line every ten seconds elsewhere; nothing for what takes less than
// half a second.
class ProgressBar {
 public:
  void update(const LoadProgress& progress);
  // Removes the bar.
  void clear();

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point shown_ = start_;
  std::string_view what_;
  bool drawn_ = false;
};

}  // namespace glimpse
