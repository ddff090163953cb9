#pragma once

// Activations of fp8 products. For few rows the products read them in bfloat16; for more, the op that makes them writes
// e4m3 with one scale a row into the same memory, which spares a pass over it: the bytes of row r begin where its
// bfloat16 would, and value = e4m3 * scales[r], scales[r] = max|row| / 448 (0 for a row of zeros).

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/stream.h"
#include "kernels/ops.h"
#include "tensor/tensor.h"

namespace glimpse::cuda {

// Whether an op on so many rows writes and reads `a` in e4m3.
inline bool holds_f8(const Activation& a, int64_t capacity) {
  return a.values.dtype == DType::kBF16 && a.scales != nullptr && capacity > kSkinnyRows;
}

// Elements (bytes) between rows of e4m3.
inline int64_t f8_stride(const Activation& a) {
  return a.values.stride * static_cast<int64_t>(dtype_bytes(a.values.dtype));
}

// Makes e4m3 of bfloat16 rows where holds_f8(), in place: for ops that do not do it themselves.
void finish_f8(const Activation& a, const Rows& rows, CudaStream& stream);

}  // namespace glimpse::cuda
