#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace glimpse {

void ProgressBar::update(const LoadProgress& progress) {
  const auto now = std::chrono::steady_clock::now();
  if (progress.what != what_) {
    clear();
    what_ = progress.what;
    start_ = shown_ = now;
  }
  if (progress.done >= progress.total) {
    clear();
    return;
  }
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  const double since = std::chrono::duration<double>(now - shown_).count();
  if (seconds < 0.5 || since < (terminal ? 0.1 : 10.0) || progress.total == 0) return;
  shown_ = now;
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const double rate = static_cast<double>(progress.done) / seconds;
  const double left = static_cast<double>(progress.total - progress.done) / rate;
  const std::string text = fmt::format("{}: {:.0f} % of {:.2f} G weights, {:.0f} M/s, {:.0f} s left", what_,
                                       100 * share, static_cast<double>(progress.total) / 1e9, rate / 1e6, left);
  if (terminal) {
    constexpr int kWidth = 24;
    const int filled = static_cast<int>(share * kWidth);
    std::fprintf(stderr, "\r[%s%s] %s\x1b[K", std::string(static_cast<size_t>(filled), '#').c_str(),
                 std::string(static_cast<size_t>(kWidth - filled), '.').c_str(), text.c_str());
    drawn_ = true;
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
}

void ProgressBar::clear() {
  if (!drawn_) return;
  std::fputs("\r\x1b[K", stderr);
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace glimpse
