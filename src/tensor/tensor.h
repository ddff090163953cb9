#pragma once

// Non-owning views. Shapes are checked by the ops (kernels/), never by the views.

#include <cstddef>
#include <cstdint>

#include "tensor/dtype.h"

namespace glimpse {

// Row-major [rows, cols]; consecutive rows are `stride` elements apart (stride >= cols). `rows` is a capacity: how many
// rows an op works on is in the step's inputs. An empty matrix (data == nullptr) stands for "absent".
struct Matrix {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  explicit operator bool() const { return data != nullptr; }
  template <typename T>
  T* row(int64_t r) const {
    return static_cast<T*>(data) + r * stride;
  }
};

// What a product reads: float32 or bfloat16 rows; or int8 rows with one scale for each group of `group` columns
// (value = data * scale). `sums` are the int32 sums of each group's int8 values, for kernels whose weights are stored
// with an offset; they may be absent for a back end that does not need them.
struct Activation {
  Matrix values;            // dtype kF32, kBF16 or kI8
  float* scales = nullptr;  // [rows, ceil(cols / group)] for kI8; beside kBF16 see Arena::step_activation
  int32_t* sums = nullptr;  // the same shape, only for kI8
  int32_t group = 0;        // columns a scale covers; the last group of a row may be shorter

  int64_t num_groups() const { return group == 0 ? 0 : (values.cols + group - 1) / group; }
};

// Rows [first, first + count).
inline Matrix rows_of(Matrix m, int64_t first, int64_t count) {
  m.data = static_cast<std::byte*>(m.data) + first * m.stride * static_cast<int64_t>(dtype_bytes(m.dtype));
  m.rows = count;
  return m;
}
inline Activation rows_of(Activation a, int64_t first, int64_t count) {
  a.values = rows_of(a.values, first, count);
  if (a.scales != nullptr) a.scales += first * a.num_groups();
  if (a.sums != nullptr) a.sums += first * a.num_groups();
  return a;
}

}  // namespace glimpse
