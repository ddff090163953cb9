#pragma once

// One element, or one row, of a view as float32, whatever its dtype. For the reference back end, tests, and the rare
// places of fast back ends where speed does not matter.

#include <cstdint>

#include "base/check.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace glimpse {

inline float get_element(const Matrix& m, int64_t r, int64_t c) {
  const int64_t at = r * m.stride + c;
  switch (m.dtype) {
    case DType::kF32:
      return static_cast<const float*>(m.data)[at];
    case DType::kBF16:
      return to_float(static_cast<const bf16*>(m.data)[at]);
    case DType::kF16:
      return to_float(static_cast<const f16*>(m.data)[at]);
    case DType::kI8:
      return static_cast<const int8_t*>(m.data)[at];
    default:
      CHECK(false, dtype_name(m.dtype));
  }
  return 0;
}

inline void put_element(const Matrix& m, int64_t r, int64_t c, float value) {
  const int64_t at = r * m.stride + c;
  switch (m.dtype) {
    case DType::kF32:
      static_cast<float*>(m.data)[at] = value;
      return;
    case DType::kBF16:
      static_cast<bf16*>(m.data)[at] = to_bf16(value);
      return;
    case DType::kF16:
      static_cast<f16*>(m.data)[at] = to_f16(value);
      return;
    default:
      CHECK(false, dtype_name(m.dtype));
  }
}

// Element of an activation, scales applied.
inline float get_element(const Activation& a, int64_t r, int64_t c) {
  const float value = get_element(a.values, r, c);
  return a.values.dtype == DType::kI8 ? value * a.scales[r * a.num_groups() + c / a.group] : value;
}

}  // namespace glimpse
