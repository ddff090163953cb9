#pragma once

// The bit layouts of quantised layers (GLM-V reference, section 8.4). Private to this folder.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "weights/quantized.h"

namespace glimpse {

// The stored bytes of a layer; sizes have been checked against the layout.
struct QuantizedBytes {
  std::span<const std::byte> values;
  std::span<const std::byte> scales;
  DType scale_dtype = DType::kF32;
  std::span<const std::byte> zeros;
  std::span<const std::byte> group_of;  // int32 [cols] or empty
};

// The unsigned integers of rows [first, first + count): out is [count, cols]. Not for kF8; int8 is shifted by 128.
void unpack_values(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t first, int64_t count,
                   uint8_t* out);

float scale_at(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t row, int64_t group);

// On the scale of unpack_values. Errors: kInvalidData where a layer that says it is symmetric is not.
Result<int32_t> zero_at(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t row, int64_t group);

// Dequantised rows: out is [count, cols].
Status dequantize_rows(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t first, int64_t count,
                       float* out);

// The value of an e4m3 byte; NaN for 0x7f and 0xff.
float f8_value(uint8_t bits);

}  // namespace glimpse
