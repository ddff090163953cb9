#include "server/latency_window.h"

#include <algorithm>
#include <cmath>

namespace glimpse {

namespace {

constexpr double kLeast = 1e-6;
constexpr double kRatio = 1.15;
constexpr int64_t kMinuteNs = 60'000'000'000;

template <typename Counts>
double p95(const Counts& counts, uint64_t total) {
  uint64_t seen = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    seen += counts[i];
    if (seen * 100 >= total * 95) return kLeast * std::pow(kRatio, static_cast<double>(i));
  }
  return 0;
}

}  // namespace

LatencyWindow::Minute& LatencyWindow::at(int64_t minute) {
  Minute& slot = minutes_[static_cast<size_t>(minute % kMinutes)];
  if (slot.minute != minute) slot = {.minute = minute};
  return slot;
}

void LatencyWindow::add(double seconds, int64_t now_ns) {
  const double place = std::log(std::max(seconds, kLeast) / kLeast) / std::log(kRatio);
  ++at(now_ns / kMinuteNs).counts[static_cast<size_t>(std::clamp(place, 0.0, kBuckets - 1.0))];
}

double LatencyWindow::p95_ratio(int64_t now_ns) {
  const int64_t minute = now_ns / kMinuteNs;
  std::array<uint64_t, kBuckets> recent{};
  std::array<uint64_t, kBuckets> hour{};
  uint64_t num_recent = 0;
  uint64_t num_hour = 0;
  for (const Minute& slot : minutes_) {
    if (slot.minute < 0 || minute - slot.minute >= kMinutes) continue;
    for (size_t i = 0; i < slot.counts.size(); ++i) {
      hour[i] += slot.counts[i];
      num_hour += slot.counts[i];
      if (minute - slot.minute <= 1) {
        recent[i] += slot.counts[i];
        num_recent += slot.counts[i];
      }
    }
  }
  if (num_recent < 20 || num_hour < 100) return 0;
  return p95(recent, num_recent) / p95(hour, num_hour);
}

}  // namespace glimpse
