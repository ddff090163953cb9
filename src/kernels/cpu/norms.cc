#include <algorithm>
#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/store.h"

namespace glimpse::cpu {

namespace {

const void* at(const Matrix& m, int64_t r, int64_t c) {
  return static_cast<const std::byte*>(m.data) + (r * m.stride + c) * static_cast<int64_t>(dtype_bytes(m.dtype));
}

// Calls visit(float32 values, first column, count) for pieces of a row; a float32 row is not copied.
template <typename Visit>
void for_pieces(const Matrix& m, int64_t r, const RowKernels& kernels, const Visit& visit) {
  alignas(64) float piece[kPieceColumns];
  for (int64_t c = 0; c < m.cols; c += kPieceColumns) {
    const int64_t count = std::min(kPieceColumns, m.cols - c);
    const float* values = piece;
    if (m.dtype == DType::kF32) {
      values = m.row<float>(r) + c;
    } else {
      kernels.widen(at(m, r, c), m.dtype, count, piece);
    }
    visit(values, c, count);
  }
}

float inverse_rms(float sum_squares, int64_t cols, float eps) {
  return 1.0f / std::sqrt(sum_squares / static_cast<float>(cols) + eps);
}

void add_norm_row(const AddNormArgs& args, int64_t r, CpuIsa isa) {
  const RowKernels& kernels = row_kernels(isa);
  const int64_t source = args.row_idx != nullptr ? args.row_idx[r] : r;
  const int64_t cols = args.x.cols;
  float* x = args.x.row<float>(source);
  float sum = 0;
  if (args.branch) {
    float scale = 1;
    if (args.branch_weight != nullptr) {
      for_pieces(args.branch, source, kernels,
                 [&](const float* values, int64_t, int64_t count) { sum += kernels.sum_squares(values, count, 0); });
      scale = inverse_rms(sum, cols, args.eps);
      sum = 0;
    }
    for_pieces(args.branch, source, kernels, [&](const float* values, int64_t c, int64_t count) {
      sum += kernels.accumulate(x + c, values, scale, args.branch_weight == nullptr ? nullptr : args.branch_weight + c,
                                count);
    });
  } else {
    sum = kernels.sum_squares(x, cols, 0);
  }
  const float scale = inverse_rms(sum, cols, args.eps);
  alignas(64) float y[kPieceColumns];
  for (int64_t c = 0; c < cols; c += kPieceColumns) {
    const int64_t count = std::min(kPieceColumns, cols - c);
    kernels.scale(x + c, scale, args.weight + c, count, y);
    store_columns(y, count, args.y, r, c, isa);
  }
}

void layernorm_gelu_row(const LayerNormGeluArgs& args, int64_t r, CpuIsa isa) {
  const RowKernels& kernels = row_kernels(isa);
  const auto cols = static_cast<float>(args.x.cols);
  float sum = 0;
  for_pieces(args.x, r, kernels, [&](const float* x, int64_t, int64_t count) { sum += kernels.sum(x, count); });
  const float mean = sum / cols;
  float squares = 0;
  for_pieces(args.x, r, kernels,
             [&](const float* x, int64_t, int64_t count) { squares += kernels.sum_squares(x, count, mean); });
  const float scale = 1.0f / std::sqrt(squares / cols + args.eps);
  alignas(64) float y[kPieceColumns];
  for_pieces(args.x, r, kernels, [&](const float* x, int64_t c, int64_t count) {
    kernels.norm_gelu(x, mean, scale, args.weight + c, args.bias + c, count, y);
    store_columns(y, count, args.y, r, c, isa);
  });
}

}  // namespace

void add_norm(const AddNormArgs& args, Context& context) {
  CHECK(args.x.dtype == DType::kF32, dtype_name(args.x.dtype));
  // A batch's rows are few and in cache: two passes over them take less than waking a thread.
  for_rows(context, *args.rows.count, args.x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) add_norm_row(args, r, context.isa);
  });
}

void layernorm_gelu(const LayerNormGeluArgs& args, Context& context) {
  constexpr int64_t kGeluCost = 4;  // elements of plain work that one exponential is worth
  for_rows(context, *args.rows.count, kGeluCost * args.x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) layernorm_gelu_row(args, r, context.isa);
  });
}

}  // namespace glimpse::cpu
