#include "image/resample_axis.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace glimpse {

namespace {

constexpr int kMaxShift = 22;  // 32 bits less 8 for the pixel and 2 for overshoot

// Below, "+ 0.5, then truncate" is the references' own rounding, negative values included: lround would differ.
// NOLINTBEGIN(bugprone-incorrect-roundings)

double cubic(double x) {
  constexpr double a = -0.5;
  x = std::fabs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

int32_t fixed_point(double weight, int shift) {
  const double scaled = weight * static_cast<double>(1 << shift);
  return static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
}

// The largest shift at which the largest weight still fits 16 bits.
int torchvision_shift(double max_weight) {
  int shift = 0;
  while (shift < kMaxShift && static_cast<int>(0.5 + max_weight * static_cast<double>(1 << (shift + 1))) < (1 << 15)) {
    ++shift;
  }
  return shift;
}

}  // namespace

void prepare_axis(int in, int out, Resampler resampler, ResampleAxis& axis) {
  CHECK(in > 0 && out > 0, in, out);
  if (axis.in == in && axis.out == out && axis.resampler == resampler) return;
  const double scale = static_cast<double>(in) / out;
  const double support = 2.0 * std::max(scale, 1.0);
  const double inverse = 1.0 / std::max(scale, 1.0);
  axis.in = in;
  axis.out = out;
  axis.resampler = resampler;
  axis.max_taps = (static_cast<int>(std::ceil(support)) * 2 + 1 + 3) / 4 * 4;
  const auto outputs = static_cast<size_t>(out);
  const auto pitch = static_cast<size_t>(axis.max_taps);
  axis.first.resize(outputs);
  axis.count.resize(outputs);
  std::vector<double> weights(outputs * pitch, 0.0);
  double max_weight = 0.0;
  for (size_t i = 0; i < outputs; ++i) {
    const double center = scale * (static_cast<double>(i) + 0.5);
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int count = std::min(static_cast<int>(center + support + 0.5), in) - first;
    CHECK(count > 0 && count <= axis.max_taps, count, axis.max_taps);
    double* w = weights.data() + i * pitch;
    double total = 0.0;
    for (int j = 0; j < count; ++j) {
      w[j] = cubic((j + first - center + 0.5) * inverse);
      total += w[j];
    }
    for (int j = 0; j < count; ++j) {
      if (total != 0.0) w[j] /= total;
      max_weight = std::max(max_weight, w[j]);
    }
    axis.first[i] = first;
    axis.count[i] = count;
  }
  const bool split = resampler == Resampler::kPillow;
  axis.shift = split ? kMaxShift : torchvision_shift(max_weight);
  axis.weights.resize(weights.size());
  axis.high.resize(split ? weights.size() : 0);
  for (size_t i = 0; i < weights.size(); ++i) {
    const int32_t fixed = fixed_point(weights[i], axis.shift);
    if (split) {
      constexpr int32_t kHalf = 1 << (ResampleAxis::kSplitBits - 1);
      const int32_t high = (fixed + kHalf) >> ResampleAxis::kSplitBits;
      axis.high[i] = static_cast<int16_t>(high);
      axis.weights[i] = static_cast<int16_t>(fixed - high * (1 << ResampleAxis::kSplitBits));
    } else {
      axis.weights[i] = static_cast<int16_t>(fixed);
    }
  }
}

// NOLINTEND(bugprone-incorrect-roundings)

}  // namespace glimpse
