#include <algorithm>
#include <cmath>

#include "kernels/cpu/attention_kernels.h"

namespace glimpse::cpu {

void AttentionSums::clear() {
  std::fill(max, max + kMaxQueryRows, -INFINITY);
  std::fill(weight_sum, weight_sum + kMaxQueryRows, 0.0f);
  std::fill(sums, sums + int64_t{rows} * layout.padded, 0.0f);
}

void AttentionSums::merge(const AttentionSums& part) {
  for (int32_t r = 0; r < rows; ++r) {
    if (part.max[r] == -INFINITY) continue;
    const float top = std::max(max[r], part.max[r]);
    const float mine = max[r] == -INFINITY ? 0.0f : std::exp2(max[r] - top);
    const float theirs = std::exp2(part.max[r] - top);
    float* to = sums + int64_t{r} * layout.padded;
    const float* from = part.sums + int64_t{r} * layout.padded;
    for (int32_t d = 0; d < layout.padded; ++d) to[d] = to[d] * mine + from[d] * theirs;
    weight_sum[r] = weight_sum[r] * mine + part.weight_sum[r] * theirs;
    max[r] = top;
  }
}

void AttentionSums::copy_from(const AttentionSums& other) {
  rows = other.rows;
  head_dim = other.head_dim;
  layout = other.layout;
  std::copy_n(other.max, rows, max);
  std::copy_n(other.weight_sum, rows, weight_sum);
  std::copy_n(other.sums, int64_t{rows} * layout.padded, sums);
}

void AttentionSums::finish(int32_t r, float* out) const {
  const float* from = sums + int64_t{r} * layout.padded;
  const float inverse = weight_sum[r] > 0 ? 1.0f / weight_sum[r] : 0.0f;
  for (int32_t d = 0; d < head_dim; ++d) out[d] = from[d] * inverse;
}

}  // namespace glimpse::cpu
