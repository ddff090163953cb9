#include <cmath>

#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

void layernorm_gelu(const LayerNormGeluArgs& args) {
  const int64_t cols = args.x.cols;
  std::vector<float> y(cols);
  for (int64_t r = 0; r < *args.rows.count; ++r) {
    double mean = 0;
    for (int64_t c = 0; c < cols; ++c) mean += get_element(args.x, r, c);
    mean /= static_cast<double>(cols);
    double variance = 0;
    for (int64_t c = 0; c < cols; ++c) {
      const double centred = get_element(args.x, r, c) - mean;
      variance += centred * centred;
    }
    const double scale = 1.0 / std::sqrt(variance / static_cast<double>(cols) + args.eps);
    for (int64_t c = 0; c < cols; ++c) {
      const auto normal = static_cast<float>((get_element(args.x, r, c) - mean) * scale);
      y[c] = gelu(normal * args.weight[c] + args.bias[c]);
    }
    store_row(y.data(), args.y, r);
  }
}

}  // namespace glimpse::reference
