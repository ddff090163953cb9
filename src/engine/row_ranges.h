#pragma once

// Contiguous ranges of a fixed number of rows: first fit, neighbours are joined when they come back.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/check.h"

namespace glimpse {

class RowRanges {
 public:
  explicit RowRanges(int32_t num_rows) : free_{{0, num_rows}}, num_free_(num_rows) {}

  int32_t num_free() const { return num_free_; }

  // The first row of `count` free ones in a row, or -1.
  int32_t allocate(int32_t count) {
    const auto range = std::find_if(free_.begin(), free_.end(), [&](const Range& r) { return r.count >= count; });
    if (range == free_.end()) return -1;
    const int32_t first = range->first;
    range->first += count;
    range->count -= count;
    if (range->count == 0) free_.erase(range);
    num_free_ -= count;
    return first;
  }

  void release(int32_t first, int32_t count) {
    auto after = std::find_if(free_.begin(), free_.end(), [&](const Range& r) { return r.first > first; });
    CHECK(after == free_.end() || first + count <= after->first, first, count);
    CHECK(after == free_.begin() || std::prev(after)->first + std::prev(after)->count <= first, first, count);
    after = free_.insert(after, {first, count});
    num_free_ += count;
    const auto join = [&](std::vector<Range>::iterator left) {
      const auto right = std::next(left);
      if (right == free_.end() || left->first + left->count != right->first) return;
      left->count += right->count;
      free_.erase(right);
    };
    join(after);
    if (after != free_.begin()) join(std::prev(after));
  }

 private:
  struct Range {
    int32_t first;
    int32_t count;
  };
  std::vector<Range> free_;  // by first row
  int32_t num_free_;
};

}  // namespace glimpse
