#pragma once

// Fixed-point bicubic coefficients for one axis (private to this folder).

#include <cstdint>
#include <vector>

#include "image/options.h"

namespace glimpse {

// out = clamp((2^(shift-1) + sum_j in[first + j] * W_j) >> shift, 0, 255), W_j = round(w_j * 2^shift), half away from
// 0.
//
// torchvision chooses `shift` so that every W_j fits 16 bits. Pillow always uses 22; its W_j are kept as two 16-bit
// halves (W = high * 2^kSplitBits + low) so that both variants run on 16-bit multiply-add, the second one twice.
struct ResampleAxis {
  static constexpr int kSplitBits = 12;

  int in = 0;
  int out = 0;
  Resampler resampler = Resampler::kTorchvision;
  int shift = 0;
  int max_taps = 0;              // of all outputs, rounded up to a multiple of 4; the pitch of the tables below
  std::vector<int32_t> first;    // [out] first input of the window
  std::vector<int32_t> count;    // [out] inputs in the window
  std::vector<int16_t> weights;  // [out, max_taps] W, or its low half; zero past count
  std::vector<int16_t> high;     // [out, max_taps] the high half; empty for torchvision

  bool is_split() const { return !high.empty(); }
  int32_t weight(int output, int tap) const {
    const size_t i = static_cast<size_t>(output) * static_cast<size_t>(max_taps) + static_cast<size_t>(tap);
    return is_split() ? high[i] * (1 << kSplitBits) + weights[i] : weights[i];
  }
};

// Makes `axis` the table for in -> out; does nothing when it already is. Windows and filter in double precision, as in
// ATen's UpSampleKernel.cpp (antialias, uint8, bicubic: A = -0.5) and Pillow's Resample.c, which agree on both.
void prepare_axis(int in, int out, Resampler resampler, ResampleAxis& axis);

}  // namespace glimpse
