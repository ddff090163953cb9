#pragma once

// The safetensors format: 8 bytes of little-endian header length, a JSON header, then the tensors' bytes.
//   {"__metadata__": {...}, "name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
// Offsets count from the end of the header. Format: the safetensors project's README, "Format".

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace glimpse {

// One tensor of a file: a view into the file's bytes, which need not be aligned to anything.
struct TensorView {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;        // outermost first; empty for a scalar; every extent >= 0
  std::span<const std::byte> bytes;  // row-major, little-endian; product(shape) * dtype_bytes(dtype) of them
};

// The tensors of a whole file, in the order of their data. Everything is validated before it is believed: the header's
// length (at most kMaxHeaderBytes, inside the file), its JSON, dtypes, shapes (at most kMaxRank extents, no overflow),
// offsets (inside the file, begin <= end, size as the shape says), and that the tensors cover the data exactly: no
// overlap, no hole, nothing behind the last. The views live as long as `file`.
// Errors: kInvalidData, or kUnsupported for a dtype the format has and we do not; one line with `file_name` and the
// tensor's name in it.
Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> file, std::string_view file_name);

inline constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
inline constexpr size_t kMaxRank = 8;

// "[2,3]", for messages.
std::string shape_text(std::span<const int64_t> shape);

// How many elements a shape has; kTooLarge when that is not an int64_t. Extents must not be negative.
Result<int64_t> num_elements(std::span<const int64_t> shape);

}  // namespace glimpse
