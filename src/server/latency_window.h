#pragma once

// Percentiles over the last minute and the last hour in constant memory: counts in logarithmic buckets, one set a
// minute.

#include <array>
#include <cstdint>

namespace glimpse {

class LatencyWindow {
 public:
  void add(double seconds, int64_t now_ns);
  // p95 of the minute that ends now (between one and two minutes of values) over p95 of the hour; 0 with fewer than 20
  // values in the minute or 100 in the hour.
  double p95_ratio(int64_t now_ns);

 private:
  static constexpr int kBuckets = 160;  // 1 us to 3 h, 15 % apart
  static constexpr int kMinutes = 60;
  struct Minute {
    int64_t minute = -1;
    std::array<uint32_t, kBuckets> counts{};
  };
  Minute& at(int64_t minute);
  std::array<Minute, kMinutes> minutes_;
};

}  // namespace glimpse
