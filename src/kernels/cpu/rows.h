#pragma once

// When rows are worth more than one thread.

#include "kernels/cpu/context.h"

namespace glimpse::cpu {

// Elements of elementwise work in a piece: about 20 microseconds of one thread.
constexpr int64_t kElementsPerPiece = 32768;
// The least that is worth a piece of its own while the workers spin, as they do between the ops of a step.
constexpr int64_t kElementsPerThread = 4096;

// Calls body(begin, end) for pieces of [0, rows), in parallel when rows * elements_per_row is worth it.
template <typename Body>
void for_rows(Context& context, int64_t rows, int64_t elements_per_row, const Body& body) {
  const int64_t elements = elements_per_row < 1 ? 1 : elements_per_row;
  const int64_t threads = context.pool.num_threads();
  int64_t grain = (rows + threads - 1) / threads;
  if (grain * elements > kElementsPerPiece) grain = kElementsPerPiece / elements;
  if (grain * elements < kElementsPerThread) grain = kElementsPerThread / elements;
  context.pool.for_each(rows, grain < 1 ? 1 : grain, body);
}

}  // namespace glimpse::cpu
