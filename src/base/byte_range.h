#pragma once

#include <cstddef>

namespace glimpse {

// The bytes [begin, end) of some text. Lists of ranges are sorted, disjoint and not empty, unless said otherwise.
struct ByteRange {
  size_t begin = 0;
  size_t end = 0;

  bool operator==(const ByteRange&) const = default;
};

}  // namespace glimpse
