#include "weights/convert.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace glimpse {
namespace {

template <typename T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

// Every exponent with random and with tie-making mantissas, both signs, and the special values.
std::vector<float> all_kinds_of_floats() {
  std::mt19937 random(7);
  std::vector<float> values;
  for (uint32_t exponent = 0; exponent < 256; ++exponent) {
    for (int i = 0; i < 200; ++i) {
      auto mantissa = static_cast<uint32_t>(random() & 0x7fffffu);
      if (i % 4 == 0) mantissa = (mantissa & 0x7f0000u) | 0x8000u;  // a tie for bf16
      if (i % 4 == 1) mantissa = (mantissa & 0x7fe000u) | 0x1000u;  // a tie for f16
      if (i % 4 == 2) mantissa = i % 8 == 2 ? 0 : 0x7fffffu;
      values.push_back(
          std::bit_cast<float>(static_cast<uint32_t>(random() & 0x80000000u) | (exponent << 23) | mantissa));
    }
  }
  return values;
}

std::vector<uint16_t> all_halves() {
  std::vector<uint16_t> values(65536);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint16_t>(i);
  return values;
}

// The scalar conversions of tensor/dtype.h are the definition; bits must be equal, NaN must stay NaN.
void expect_same(uint32_t actual, uint32_t expected, bool nan, bool actual_nan, size_t i) {
  if (nan) {
    ASSERT_TRUE(actual_nan) << i;
  } else {
    ASSERT_EQ(actual, expected) << i;
  }
}

TEST(Convert, Float32ToBf16) {
  const auto source = all_kinds_of_floats();
  std::vector<bf16> out(source.size());
  convert(DType::kF32, bytes_of(source), out);
  for (size_t i = 0; i < source.size(); ++i) {
    expect_same(out[i].bits, to_bf16(source[i]).bits, std::isnan(source[i]), std::isnan(to_float(out[i])), i);
  }
}

TEST(Convert, Float32ToF16CountsOverflows) {
  const auto source = all_kinds_of_floats();
  std::vector<f16> out(source.size());
  const size_t overflows = convert(DType::kF32, bytes_of(source), out);
  size_t expected = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    expect_same(out[i].bits, to_f16(source[i]).bits, std::isnan(source[i]), std::isnan(to_float(out[i])), i);
    expected += std::isfinite(source[i]) && std::isinf(to_float(out[i]));
  }
  EXPECT_GT(expected, 0U);
  EXPECT_EQ(overflows, expected);
}

TEST(Convert, F16ToTheOthersOverAllValues) {
  const auto source = all_halves();
  std::vector<float> wide(source.size());
  std::vector<bf16> narrow(source.size());
  std::vector<f16> same(source.size());
  convert(DType::kF16, bytes_of(source), wide);
  convert(DType::kF16, bytes_of(source), narrow);
  EXPECT_EQ(convert(DType::kF16, bytes_of(source), same), 0U);
  for (size_t i = 0; i < source.size(); ++i) {
    const float value = to_float(f16{source[i]});
    expect_same(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(value), std::isnan(value),
                std::isnan(wide[i]), i);
    expect_same(narrow[i].bits, to_bf16(value).bits, std::isnan(value), std::isnan(to_float(narrow[i])), i);
    ASSERT_EQ(same[i].bits, source[i]);
  }
}

TEST(Convert, Bf16ToTheOthersOverAllValues) {
  const auto source = all_halves();
  std::vector<float> wide(source.size());
  std::vector<bf16> same(source.size());
  std::vector<f16> half(source.size());
  convert(DType::kBF16, bytes_of(source), wide);
  convert(DType::kBF16, bytes_of(source), same);
  const size_t overflows = convert(DType::kBF16, bytes_of(source), half);
  size_t expected = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    const float value = to_float(bf16{source[i]});
    ASSERT_EQ(std::bit_cast<uint32_t>(wide[i]), std::bit_cast<uint32_t>(value));
    ASSERT_EQ(same[i].bits, source[i]);
    expect_same(half[i].bits, to_f16(value).bits, std::isnan(value), std::isnan(to_float(half[i])), i);
    expected += std::isfinite(value) && std::isinf(to_float(half[i]));
  }
  EXPECT_EQ(overflows, expected);
}

TEST(Convert, AnyLengthAndAlignment) {
  std::vector<float> values(100);
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.1F * static_cast<float>(i) - 3;
  for (size_t shift = 0; shift < 4; ++shift) {
    for (size_t count = 0; count <= values.size(); ++count) {
      std::vector<std::byte> source(shift + 4 * count);
      if (count > 0) std::memcpy(source.data() + shift, values.data(), 4 * count);
      std::vector<bf16> out(count + 1, bf16{0x1234});
      convert(DType::kF32, std::span(source).subspan(shift), std::span(out).first(count));
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(out[i].bits, to_bf16(values[i]).bits);
      ASSERT_EQ(out[count].bits, 0x1234);
    }
  }
}

}  // namespace
}  // namespace glimpse
