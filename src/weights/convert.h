#pragma once

// Bulk conversions between the float formats of checkpoints: round to nearest, ties to even; NaN stays NaN; vectorised
// for the machine they run on, with the same bits everywhere. Scalar meaning: tensor/dtype.h.

#include <cstddef>
#include <span>

#include "tensor/dtype.h"

namespace glimpse {

// Whether convert() takes this as a source: kF32, kBF16, kF16.
constexpr bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kBF16 || dtype == DType::kF16;
}

// `source` holds out.size() elements of `dtype`, with any alignment; both are checked. out may not overlap it.
void convert(DType dtype, std::span<const std::byte> source, std::span<float> out);
void convert(DType dtype, std::span<const std::byte> source, std::span<bf16> out);
// Returns how many finite values became infinite: fp16 ends at 65504, and this family's weights may not.
size_t convert(DType dtype, std::span<const std::byte> source, std::span<f16> out);

}  // namespace glimpse
