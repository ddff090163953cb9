#include "weights/convert.h"

#include <cstring>

#include "base/check.h"
#include "weights/isa.h"

namespace glimpse {

// One plain loop per pair of formats, branch-free so that the compiler vectorises it; GLIMPSE_PER_ISA compiles it for
// AVX-512, AVX2 and the baseline. Integer arithmetic instead of the bf16 instructions, because those flush denormals;
// no denormal float32 enters an addition, so the result does not depend on the thread's flush mode either.
namespace {

template <typename T>
GLIMPSE_INLINE T load(const std::byte* source, size_t i) {
  T value;
  std::memcpy(&value, source + i * sizeof(T), sizeof(T));
  return value;
}

GLIMPSE_INLINE uint32_t f32_from_bf16(uint16_t x) {
  return static_cast<uint32_t>(x) << 16;
}

GLIMPSE_INLINE uint32_t f32_from_f16(uint16_t x) {
  const uint32_t sign = static_cast<uint32_t>(x & 0x8000u) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(x & 0x7fffu) << 13;
  const uint32_t exponent = magnitude & 0x0f800000u;
  const uint32_t normal = magnitude + (112u << 23) + (exponent == 0x0f800000u ? 112u << 23 : 0);
  // A subnormal half is read as 2^-14 * (1 + m), and 2^-14 is taken off again.
  const float subnormal = std::bit_cast<float>(magnitude + (113u << 23)) - 0x1p-14f;
  return sign | (exponent == 0 ? std::bit_cast<uint32_t>(subnormal) : normal);
}

GLIMPSE_INLINE uint16_t bf16_from_f32(uint32_t bits) {
  const uint32_t nan = (bits >> 16) | 0x40u;
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? nan : rounded);
}

GLIMPSE_INLINE uint16_t f16_from_f32(uint32_t bits) {
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Adding 0.5 lines a subnormal result's mantissa up with the end of the float and rounds it.
  const float shifted = std::bit_cast<float>(magnitude < 0x38800000u ? magnitude : 0u) + 0.5f;
  const uint32_t subnormal = std::bit_cast<uint32_t>(shifted) - 0x3f000000u;
  const uint32_t normal = (magnitude + 0xfffu + ((magnitude >> 13) & 1u) - (112u << 23)) >> 13;
  uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
  half = magnitude >= 0x477ff000u ? 0x7c00u : half;
  half = magnitude > 0x7f800000u ? 0x7e00u : half;
  return static_cast<uint16_t>(sign | half);
}

// Source elements as float32 bits.
struct FromF32 {
  static GLIMPSE_INLINE uint32_t at(const std::byte* source, size_t i) { return load<uint32_t>(source, i); }
};
struct FromBF16 {
  static GLIMPSE_INLINE uint32_t at(const std::byte* source, size_t i) {
    return f32_from_bf16(load<uint16_t>(source, i));
  }
};
struct FromF16 {
  static GLIMPSE_INLINE uint32_t at(const std::byte* source, size_t i) {
    return f32_from_f16(load<uint16_t>(source, i));
  }
};

template <typename From>
struct ToF32 {
  static GLIMPSE_INLINE void run(const std::byte* source, float* out, size_t count) {
    for (size_t i = 0; i < count; ++i) out[i] = std::bit_cast<float>(From::at(source, i));
  }
};
template <typename From>
struct ToBF16 {
  static GLIMPSE_INLINE void run(const std::byte* source, bf16* out, size_t count) {
    for (size_t i = 0; i < count; ++i) out[i].bits = bf16_from_f32(From::at(source, i));
  }
};
template <typename From>
struct ToF16 {
  // Blocks, so that the count of overflows is a 32-bit sum inside the vectorised loop.
  static GLIMPSE_INLINE void run(const std::byte* source, f16* out, size_t count, size_t* overflows) {
    constexpr size_t kBlock = 1 << 20;
    for (size_t begin = 0; begin < count; begin += kBlock) {
      const size_t end = count - begin < kBlock ? count : begin + kBlock;
      uint32_t sum = 0;
      for (size_t i = begin; i < end; ++i) {
        const uint32_t bits = From::at(source, i);
        out[i].bits = f16_from_f32(bits);
        const uint32_t magnitude = bits & 0x7fffffffu;
        sum += static_cast<uint32_t>(magnitude >= 0x477ff000u) & static_cast<uint32_t>(magnitude < 0x7f800000u);
      }
      *overflows += sum;
    }
  }
};

template <template <typename> typename To, typename... Args>
void dispatch(DType dtype, Args... args) {
  switch (dtype) {
    case DType::kF32:
      return run_best_isa<To<FromF32>>(args...);
    case DType::kBF16:
      return run_best_isa<To<FromBF16>>(args...);
    case DType::kF16:
      return run_best_isa<To<FromF16>>(args...);
    default:
      CHECK(is_float(dtype), dtype_name(dtype));
  }
}

}  // namespace

void convert(DType dtype, std::span<const std::byte> source, std::span<float> out) {
  CHECK(source.size() == out.size() * dtype_bytes(dtype), source.size(), out.size(), dtype_name(dtype));
  if (out.empty()) return;
  if (dtype == DType::kF32) {
    std::memcpy(out.data(), source.data(), source.size());
    return;
  }
  dispatch<ToF32>(dtype, source.data(), out.data(), out.size());
}

void convert(DType dtype, std::span<const std::byte> source, std::span<bf16> out) {
  CHECK(source.size() == out.size() * dtype_bytes(dtype), source.size(), out.size(), dtype_name(dtype));
  if (out.empty()) return;
  if (dtype == DType::kBF16) {
    std::memcpy(out.data(), source.data(), source.size());
    return;
  }
  dispatch<ToBF16>(dtype, source.data(), out.data(), out.size());
}

size_t convert(DType dtype, std::span<const std::byte> source, std::span<f16> out) {
  CHECK(source.size() == out.size() * dtype_bytes(dtype), source.size(), out.size(), dtype_name(dtype));
  if (out.empty()) return 0;
  if (dtype == DType::kF16) {
    std::memcpy(out.data(), source.data(), source.size());
    return 0;
  }
  size_t overflows = 0;
  dispatch<ToF16>(dtype, source.data(), out.data(), out.size(), &overflows);
  return overflows;
}

}  // namespace glimpse
