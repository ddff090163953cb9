#pragma once

// Where attention's heads go. A head's columns are whole quantisation groups for the published shapes; otherwise int8
// rows are assembled as float32 in the workspace and quantised when all heads are there.

#include "kernels/cpu/context.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/store.h"

namespace glimpse::cpu {

class AttentionOutput {
 public:
  static size_t workspace(const Activation& out, int64_t capacity, int32_t head_dim) {
    return direct(out, head_dim) ? 0 : static_cast<size_t>(capacity * out.values.cols) * sizeof(float);
  }

  AttentionOutput(const Activation& out, int32_t head_dim, std::byte* workspace)
      : out_(out), head_dim_(head_dim), rows_(direct(out, head_dim) ? nullptr : reinterpret_cast<float*>(workspace)) {}

  // Head h of token t.
  void store(const float* values, int64_t t, int32_t h, CpuIsa isa) const {
    const int64_t column = int64_t{h} * head_dim_;
    if (rows_ == nullptr) {
      store_columns(values, head_dim_, out_, t, column, isa);
    } else {
      store_columns(values, head_dim_, {.values = assembled()}, t, column, isa);
    }
  }

  // After all heads of tokens [first, end) are stored.
  void complete(int64_t first, int64_t end, Context& context) const {
    if (rows_ == nullptr) return;
    for_rows(context, end - first, out_.values.cols, [&](int64_t begin, int64_t stop) {
      for (int64_t t = first + begin; t < first + stop; ++t) {
        store_columns(rows_ + t * out_.values.cols, out_.values.cols, out_, t, 0, context.isa);
      }
    });
  }

 private:
  static bool direct(const Activation& out, int32_t head_dim) {
    return out.values.dtype != DType::kI8 || head_dim % out.group == 0;
  }
  Matrix assembled() const {
    Matrix m = out_.values;
    m.data = rows_;
    m.dtype = DType::kF32;
    m.stride = m.cols;
    return m;
  }

  const Activation& out_;
  int32_t head_dim_;
  float* rows_;
};

}  // namespace glimpse::cpu
