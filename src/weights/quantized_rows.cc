#include "weights/quantized_rows.h"

#include <array>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace glimpse {

namespace {

using Values = QuantizedLayout::Values;

template <typename T>
T load(std::span<const std::byte> bytes, int64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + static_cast<size_t>(index) * sizeof(T), sizeof(T));
  return value;
}

// AWQ: nibble i of a word holds column kAwqOrder[i] of its eight.
constexpr std::array<int, 8> kAwqOrder = {0, 2, 4, 6, 1, 3, 5, 7};
// And column c of the eight lies in nibble kAwqNibble[c].
constexpr std::array<int, 8> kAwqNibble = {0, 4, 1, 5, 2, 6, 3, 7};

constexpr std::array<float, 256> make_f8_values() {
  std::array<float, 256> values{};
  for (int i = 0; i < 256; ++i) {
    const int exponent = i >> 3 & 15;
    const int mantissa = i & 7;
    float value =
        exponent == 0 ? static_cast<float>(mantissa) / 8.0f / 64.0f : 1.0f + static_cast<float>(mantissa) / 8.0f;
    for (int e = exponent; e > 7; --e) value *= 2.0f;
    for (int e = exponent; e != 0 && e < 7; ++e) value /= 2.0f;
    if (exponent == 15 && mantissa == 7) value = std::numeric_limits<float>::quiet_NaN();
    values[static_cast<size_t>(i)] = i < 128 ? value : -value;
  }
  return values;
}

constexpr std::array<float, 256> kF8Values = make_f8_values();

}  // namespace

float f8_value(uint8_t bits) {
  return kF8Values[bits];
}

void unpack_values(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t first, int64_t count,
                   uint8_t* out) {
  const int64_t cols = layout.cols;
  const int64_t per_word = 32 / layout.bits;
  const uint32_t mask = (1u << layout.bits) - 1;
  switch (layout.values) {
    case Values::kGptq:
      // Words of one input range lie side by side for all outputs: walk them in that order.
      for (int64_t w = 0; w * per_word < cols; ++w) {
        for (int64_t r = 0; r < count; ++r) {
          const auto word = load<uint32_t>(bytes.values, w * layout.rows + first + r);
          for (int64_t j = 0; j < per_word; ++j) {
            out[r * cols + w * per_word + j] = static_cast<uint8_t>(word >> (j * layout.bits) & mask);
          }
        }
      }
      return;
    case Values::kAwq:
      for (int64_t c = 0; c < cols; ++c) {
        for (int64_t w = first / 8; w * 8 < first + count; ++w) {
          const auto word = load<uint32_t>(bytes.values, c * (layout.rows / 8) + w);
          for (int i = 0; i < 8; ++i) {
            const int64_t r = w * 8 + kAwqOrder[static_cast<size_t>(i)] - first;
            if (r >= 0 && r < count) out[r * cols + c] = static_cast<uint8_t>(word >> (4 * i) & 15);
          }
        }
      }
      return;
    case Values::kPacked: {
      const int64_t words = (cols + per_word - 1) / per_word;
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
          const auto word = load<uint32_t>(bytes.values, (first + r) * words + c / per_word);
          out[r * cols + c] = static_cast<uint8_t>(word >> (c % per_word * layout.bits) & mask);
        }
      }
      return;
    }
    case Values::kInt8:
      for (int64_t i = 0; i < count * cols; ++i) {
        out[i] = static_cast<uint8_t>(load<int8_t>(bytes.values, first * cols + i) + 128);
      }
      return;
    case Values::kF8:
      break;
  }
  CHECK(false, static_cast<int>(layout.values));
}

float scale_at(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t row, int64_t group) {
  const int64_t index =
      layout.scales_by_group ? group * layout.rows + row : row / layout.row_block * layout.groups() + group;
  switch (bytes.scale_dtype) {
    case DType::kF16:
      return to_float(load<f16>(bytes.scales, index));
    case DType::kBF16:
      return to_float(load<bf16>(bytes.scales, index));
    default:
      return load<float>(bytes.scales, index);
  }
}

Result<int32_t> zero_at(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t row, int64_t group) {
  const int32_t middle = 1 << (layout.bits - 1);
  if (bytes.zeros.empty()) return middle;
  const int32_t mask = (1 << layout.bits) - 1;
  const int64_t per_word = 32 / layout.bits;
  int32_t zero = 0;
  if (layout.values == Values::kAwq) {
    const auto word = load<uint32_t>(bytes.zeros, group * (layout.rows / 8) + row / 8);
    zero = static_cast<int32_t>(word >> (4 * kAwqNibble[static_cast<size_t>(row % 8)])) & mask;
  } else if (layout.values == Values::kGptq) {
    const auto word = load<uint32_t>(bytes.zeros, group * (layout.rows / per_word) + row / per_word);
    zero = static_cast<int32_t>(word >> (row % per_word * layout.bits)) & mask;
  } else if (layout.packed_zeros) {
    const auto word = load<uint32_t>(bytes.zeros, row / per_word * layout.groups() + group);
    zero = static_cast<int32_t>(word >> (row % per_word * layout.bits)) & mask;
  } else {
    zero = (load<int8_t>(bytes.zeros, row * layout.groups() + group) + middle) & mask;
  }
  if (layout.zeros_less_one) zero = (zero + 1) & mask;
  if (layout.symmetric && zero != middle) {
    return Error{ErrorCode::kInvalidData, "the config says that the weights are symmetric, and a zero point is " +
                                              std::to_string(zero) + ", not " + std::to_string(middle)};
  }
  return zero;
}

Status dequantize_rows(const QuantizedLayout& layout, const QuantizedBytes& bytes, int64_t first, int64_t count,
                       float* out) {
  const int64_t cols = layout.cols;
  const int64_t groups = layout.groups();
  std::vector<uint8_t> values(layout.values == Values::kF8 ? 0 : static_cast<size_t>(count * cols));
  if (!values.empty()) unpack_values(layout, bytes, first, count, values.data());
  std::vector<float> scales(static_cast<size_t>(groups));
  std::vector<float> zeros(static_cast<size_t>(groups));
  for (int64_t r = 0; r < count; ++r) {
    for (int64_t g = 0; g < groups; ++g) {
      scales[static_cast<size_t>(g)] = scale_at(layout, bytes, first + r, g);
      if (layout.values == Values::kF8) continue;
      ASSIGN_OR_RETURN(const int32_t zero, zero_at(layout, bytes, first + r, g));
      zeros[static_cast<size_t>(g)] = static_cast<float>(zero);
    }
    for (int64_t c = 0; c < cols; ++c) {
      size_t g = static_cast<size_t>(c / layout.group);
      if (!bytes.group_of.empty()) g = static_cast<size_t>(load<int32_t>(bytes.group_of, c));
      const float value = layout.values == Values::kF8
                              ? f8_value(load<uint8_t>(bytes.values, (first + r) * cols + c))
                              : static_cast<float>(values[static_cast<size_t>(r * cols + c)]) - zeros[g];
      out[r * cols + c] = value * scales[g];
    }
  }
  return {};
}

}  // namespace glimpse
