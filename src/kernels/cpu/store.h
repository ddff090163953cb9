#pragma once

#include "kernels/cpu/context.h"
#include "tensor/tensor.h"

namespace glimpse::cpu {

// Columns handled at a time between arithmetic and store_columns: whole quantisation groups, a page of stack.
constexpr int64_t kPieceColumns = 1024;

// Writes count float32 values to columns [c0, c0 + count) of row r, in the format that y asks for. For int8, c0 has to
// be a multiple of the group, and so has count unless it ends the row.
void store_columns(const float* x, int64_t count, const Activation& y, int64_t r, int64_t c0, CpuIsa isa);

// The activation's rows from r on.
Activation rows_from(const Activation& a, int64_t r);
Matrix rows_from(const Matrix& m, int64_t r);

}  // namespace glimpse::cpu
