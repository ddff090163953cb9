#pragma once

// A product's arguments, whichever op it is for, and what the two drivers share: matmul.cc for tiles of a few rows in
// vector registers, matmul_blocks.cc for tiles of 16 rows in tile registers.

#include "kernels/cpu/context.h"
#include "kernels/cpu/matmul_kernels.h"
#include "kernels/cpu/pack.h"

namespace glimpse::cpu {

struct Product {
  const Packed& weight;
  const Activation& x;
  int64_t rows = 0;
  Finish finish = Finish::kNone;
  const Activation& y;
  const MatmulKernels& kernels;
};

// Columns of y that a unit of work has at least when y is quantised: whole groups.
constexpr int64_t kUnitOutputs = 128;

// Panels of such a unit.
inline int64_t unit_panels(const Product& p) {
  return p.y.values.dtype == DType::kI8 ? kUnitOutputs / p.weight.panel_outputs() : 1;
}

// Sums of panels [first, last) and rows [first_row, first_row + rows) to y. Sums are [panel][row][64],
// panels `panel_stride` floats apart. Whole units, but for the last of y.
void finish_panels(const Product& p, int64_t first, int64_t last, int64_t first_row, int64_t rows, const float* sums,
                   int64_t panel_stride);

// One thread is done before another would have joined: a region costs about 2 microseconds while the workers spin, 50
// when they sleep.
bool is_small(const Product& p);

// Whether the product goes the way of matmul_blocks.cc on this processor; how much memory it needs there, 64-byte
// aligned; and that way.
bool uses_blocks(const Product& p, CpuIsa isa);
size_t block_workspace(const Packed& weight, int64_t rows);
void multiply_blocks(const Product& p, Context& context, std::byte* workspace);

}  // namespace glimpse::cpu
