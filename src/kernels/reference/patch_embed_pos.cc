#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/bicubic.h"
#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

void patch_embed_pos(const PatchEmbedPosArgs& args) {
  const auto& weight = static_cast<const ReferenceLinear&>(*args.weight);
  const int64_t hidden = weight.rows;
  std::vector<float> x(hidden);
  for (int64_t p = 0; p < *args.patches.count; ++p) {
    project_row(weight, {.values = args.pixels}, p, x.data());
    rms_norm_row(x.data(), args.norm_weight, args.eps, hidden, x.data());
    const BicubicTaps across = bicubic_taps(args.col[p], args.grid_w[p], args.table_side);
    const BicubicTaps down = bicubic_taps(args.row[p], args.grid_h[p], args.table_side);
    for (int64_t c = 0; c < hidden; ++c) {
      float position = 0;
      for (int i = 0; i < 4; ++i) {
        float line = 0;
        for (int j = 0; j < 4; ++j) {
          const int64_t cell = int64_t{down.index[i]} * args.table_side + across.index[j];
          line += across.weight[j] * args.table[cell * hidden + c];
        }
        position += down.weight[i] * line;
      }
      put_element(args.x, p, c, x[c] + position);
    }
  }
}

}  // namespace glimpse::reference
