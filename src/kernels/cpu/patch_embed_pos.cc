#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/bicubic.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/store.h"

namespace glimpse::cpu {

namespace {

// Norm and position of one projected patch, in place. The eight taps are computed anew for each patch: they cost a few
// dozen operations beside the 16 rows that they sum.
void finish_patch(const PatchEmbedPosArgs& args, int64_t p, CpuIsa isa) {
  const RowKernels& kernels = row_kernels(isa);
  const int64_t hidden = args.weight->rows;
  float* x = args.x.row<float>(p);
  const float mean_square = kernels.sum_squares(x, hidden, 0) / static_cast<float>(hidden);
  kernels.scale(x, 1.0f / std::sqrt(mean_square + args.eps), args.norm_weight, hidden, x);
  const BicubicTaps across = bicubic_taps(args.col[p], args.grid_w[p], args.table_side);
  const BicubicTaps down = bicubic_taps(args.row[p], args.grid_h[p], args.table_side);
  const float* cells[16];
  float weights[8];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      cells[4 * i + j] = args.table + (int64_t{down.index[i]} * args.table_side + across.index[j]) * hidden;
    }
  }
  std::memcpy(weights, across.weight, sizeof(across.weight));
  std::memcpy(weights + 4, down.weight, sizeof(down.weight));
  kernels.add_bicubic(cells, weights, hidden, x);
}

}  // namespace

void patch_embed_pos(const PatchEmbedPosArgs& args, Context& context) {
  CHECK(args.x.dtype == DType::kF32, dtype_name(args.x.dtype));
  const int64_t patches = *args.patches.count;
  auto* scratch = context.scratch<std::byte>(patch_embed_pos_workspace(args));
  project(*args.weight, {.values = args.pixels}, patches, args.x, context, scratch);
  for_rows(context, patches, 8 * args.weight->rows, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) finish_patch(args, p, context.isa);
  });
}

size_t patch_embed_pos_workspace(const PatchEmbedPosArgs& args) {
  return project_workspace(*args.weight, args.patches.capacity);
}

}  // namespace glimpse::cpu
