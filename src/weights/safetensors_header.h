#pragma once

// The JSON header of a safetensors file, read as a stream: a hostile header of 100 MB costs no more than its entries,
// and duplicate names, which a document tree would hide, are seen.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glimpse {

// One entry as it was written; nothing but the JSON types has been checked.
struct HeaderEntry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<int64_t>> shape;
  std::optional<std::vector<int64_t>> data_offsets;
};

// The entries in the order of the header, without __metadata__ (which must be an object of strings).
// Errors: kInvalidData naming the byte offset, or the entry and the field.
Result<std::vector<HeaderEntry>> parse_safetensors_header(std::string_view text);

}  // namespace glimpse
