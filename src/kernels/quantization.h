#pragma once

// The quantisation rules, in one place for all back ends: what the stored integers mean and how values are rounded.
// Back ends may search for better int4 scales; the rules below then still say what a value is given its scale.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tensor/dtype.h"

namespace glimpse {

// int8, symmetric: value = q * scale with scale = max|x| / 127 and q = x / scale, rounded to nearest even. A group of
// zeros has scale 0.
struct Int8Scale {
  float scale = 0;    // multiplies q
  float inverse = 0;  // multiplies x
};

inline Int8Scale int8_scale(float max_abs) {
  if (!(max_abs > 0)) return {};
  const float inverse = 127.0f / max_abs;
  // Below 127 / FLT_MAX the inverse overflows: such values are zeros for every purpose here.
  return std::isfinite(inverse) ? Int8Scale{max_abs / 127.0f, inverse} : Int8Scale{};
}

inline int8_t int8_value(float x, const Int8Scale& scale) {
  return static_cast<int8_t>(std::clamp(std::nearbyint(x * scale.inverse), -127.0f, 127.0f));
}

// int4, symmetric: value = q * scale, q in [-8, 7], the scale stored as float16.
inline int8_t int4_value(float x, float scale) {
  return scale == 0 ? int8_t{0} : static_cast<int8_t>(std::clamp(std::nearbyint(x / scale), -8.0f, 7.0f));
}

// The plain scale: the largest magnitude maps to 7.
inline f16 int4_plain_scale(float max_abs) {
  return to_f16(max_abs / 7.0f);
}

}  // namespace glimpse
