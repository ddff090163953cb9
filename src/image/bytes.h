#pragma once

// Bounded reading of integers out of untrusted bytes (private to this folder).

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace glimpse {

using Bytes = std::span<const std::byte>;

inline uint32_t byte_at(Bytes bytes, size_t i) {
  return std::to_integer<uint32_t>(bytes[i]);
}
inline uint32_t big16(Bytes bytes, size_t i) {
  return byte_at(bytes, i) << 8 | byte_at(bytes, i + 1);
}
inline uint32_t big32(Bytes bytes, size_t i) {
  return big16(bytes, i) << 16 | big16(bytes, i + 2);
}
inline uint32_t little16(Bytes bytes, size_t i) {
  return byte_at(bytes, i) | byte_at(bytes, i + 1) << 8;
}
inline uint32_t little32(Bytes bytes, size_t i) {
  return little16(bytes, i) | little16(bytes, i + 2) << 16;
}

inline std::string_view as_text(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline bool starts_with(Bytes bytes, std::string_view prefix) {
  return as_text(bytes).starts_with(prefix);
}

}  // namespace glimpse
