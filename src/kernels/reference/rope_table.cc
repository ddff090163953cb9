#include <cmath>

#include "kernels/reference/ops.h"

namespace glimpse::reference {

void rope_table(const RopeTableArgs& args) {
  const int64_t axis_stride = args.axis_stride != 0 ? args.axis_stride : args.tokens.capacity;
  for (int64_t t = 0; t < *args.tokens.count; ++t) {
    for (int32_t i = 0; i < args.num_pairs; ++i) {
      const int32_t position = args.positions[int64_t{args.axis[i]} * axis_stride + t];
      const float angle = static_cast<float>(position) * args.inv_freq[i];  // in float32, as transformers does
      args.cos[t * args.num_pairs + i] = static_cast<float>(std::cos(double{angle}));
      args.sin[t * args.num_pairs + i] = static_cast<float>(std::sin(double{angle}));
    }
  }
}

}  // namespace glimpse::reference
