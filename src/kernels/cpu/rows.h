#pragma once

// When rows are worth more than one thread.

#include "kernels/cpu/context.h"

namespace glimpse::cpu {

// Elements of elementwise work below which waking another thread costs more than it saves: about 20 microseconds of
// one.
constexpr int64_t kElementsPerPiece = 32768;

// Calls body(begin, end) for pieces of [0, rows), in parallel when rows * elements_per_row is worth it.
template <typename Body>
void for_rows(Context& context, int64_t rows, int64_t elements_per_row, const Body& body) {
  const int64_t grain = kElementsPerPiece / (elements_per_row < 1 ? 1 : elements_per_row);
  context.pool.for_each(rows, grain < 1 ? 1 : grain, body);
}

}  // namespace glimpse::cpu
