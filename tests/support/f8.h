#pragma once

// e4m3 on the host, for checkpoints that tests make.

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace glimpse::testing {

// The nearest e4m3 value, ties to the even mantissa; magnitudes above 448 do not occur here.
inline float round_f8(float x) {
  const float magnitude = std::fabs(x);
  int exponent = 0;
  std::frexp(std::max(magnitude, 0x1p-6f), &exponent);
  const float step = std::ldexp(1.0f, exponent - 4);
  return std::copysign(std::nearbyint(magnitude / step) * step, x);
}

// The byte of a value that round_f8 gave.
inline uint8_t f8_bits(float x) {
  const float magnitude = std::fabs(x);
  const uint8_t sign = std::signbit(x) ? 0x80 : 0;
  if (magnitude < 0x1p-6f) return static_cast<uint8_t>(sign | static_cast<int>(magnitude * 512.0f));
  int exponent = 0;
  const float fraction = std::frexp(magnitude, &exponent);  // in [0.5, 1)
  return static_cast<uint8_t>(sign | (exponent + 6) << 3 | static_cast<int>(fraction * 16.0f - 8.0f));
}

}  // namespace glimpse::testing
