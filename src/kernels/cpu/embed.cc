#include <cmath>

#include "kernels/cpu/ops.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/rows.h"

namespace glimpse::cpu {

void embed(const EmbedArgs& args, Context& context) {
  CHECK(args.x.dtype == DType::kF32, dtype_name(args.x.dtype));
  const RowKernels& kernels = row_kernels(context.isa);
  for_rows(context, *args.tokens.count, args.x.cols, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int32_t image_row = args.image_rows != nullptr ? args.image_rows[t] : -1;
      const int32_t token = args.token_ids[t];
      const Matrix& from = image_row >= 0 ? args.images : args.table;
      const int64_t row = image_row >= 0 ? image_row : token >= 0 ? token : args.last_ids[-1 - token];
      DCHECK(row >= 0 && row < from.rows, row, from.rows);
      const auto* values = static_cast<const std::byte*>(from.data) + row * from.stride * dtype_bytes(from.dtype);
      kernels.widen(values, from.dtype, from.cols, args.x.row<float>(t));
    }
  });
}

void rope_table(const RopeTableArgs& args, Context& context) {
  constexpr float kLargeAngle = 1e6f;  // beyond the range reduction of RowKernels::cos_sin
  constexpr int32_t kPiece = 128;
  const int64_t axis_stride = args.axis_stride != 0 ? args.axis_stride : args.tokens.capacity;
  constexpr int64_t kSineCost = 4;  // elements of plain work
  const RowKernels& kernels = row_kernels(context.isa);
  for_rows(context, *args.tokens.count, kSineCost * args.num_pairs, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float* cos = args.cos + t * args.num_pairs;
      float* sin = args.sin + t * args.num_pairs;
      for (int32_t first = 0; first < args.num_pairs; first += kPiece) {
        alignas(64) float angles[kPiece];
        const int32_t count = args.num_pairs - first < kPiece ? args.num_pairs - first : kPiece;
        bool large = false;
        for (int32_t i = 0; i < count; ++i) {
          const int64_t axis = args.axis[first + i];
          // The product is rounded to float32 as transformers' is; the angle is then taken as exact.
          angles[i] = static_cast<float>(args.positions[axis * axis_stride + t]) * args.inv_freq[first + i];
          large |= !(std::fabs(angles[i]) < kLargeAngle);
        }
        if (!large) {
          kernels.cos_sin(angles, count, cos + first, sin + first);
          continue;
        }
        for (int32_t i = 0; i < count; ++i) {
          cos[first + i] = static_cast<float>(std::cos(double{angles[i]}));
          sin[first + i] = static_cast<float>(std::sin(double{angles[i]}));
        }
      }
    }
  });
}

}  // namespace glimpse::cpu
