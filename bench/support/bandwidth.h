#pragma once

// How fast this machine reads memory right now. Some machines have more than one mode and change between them within
// minutes, so a figure of decoding means nothing without a reading beside it.

#include <cstddef>

namespace glimpse {

class BandwidthMeter {
 public:
  // Reads a buffer of `bytes` on `threads` threads; larger than the last-level cache by far.
  explicit BandwidthMeter(int threads, size_t bytes = size_t{1} << 30);
  ~BandwidthMeter();
  BandwidthMeter(const BandwidthMeter&) = delete;
  BandwidthMeter& operator=(const BandwidthMeter&) = delete;

  // Bytes a second, over about `seconds`.
  double read(double seconds = 0.1);
  // On the calling thread, by its processor time: for a machine that others use too.
  double read_busy(double seconds = 0.1);

 private:
  int threads_;
  size_t bytes_;
  float* data_;
};

}  // namespace glimpse
