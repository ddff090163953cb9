#include <cmath>

#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

void rms_norm_row(const float* x, const float* weight, float eps, int64_t cols, float* y) {
  double sum = 0;
  for (int64_t c = 0; c < cols; ++c) sum += double{x[c]} * x[c];
  const auto scale = static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(cols) + eps));
  for (int64_t c = 0; c < cols; ++c) y[c] = x[c] * scale * weight[c];
}

void add_norm(const AddNormArgs& args) {
  const int64_t cols = args.x.cols;
  std::vector<float> x(cols), branch(cols), y(cols);
  for (int64_t r = 0; r < *args.rows.count; ++r) {
    const int64_t source = args.row_idx != nullptr ? args.row_idx[r] : r;
    for (int64_t c = 0; c < cols; ++c) x[c] = get_element(args.x, source, c);
    if (args.branch) {
      for (int64_t c = 0; c < cols; ++c) branch[c] = get_element(args.branch, source, c);
      if (args.branch_weight != nullptr) {
        rms_norm_row(branch.data(), args.branch_weight, args.eps, cols, branch.data());
      }
      for (int64_t c = 0; c < cols; ++c) {
        put_element(args.x, source, c, x[c] + branch[c]);
        x[c] = get_element(args.x, source, c);
      }
    }
    rms_norm_row(x.data(), args.weight, args.eps, cols, y.data());
    store_row(y.data(), args.y, r);
  }
}

}  // namespace glimpse::reference
