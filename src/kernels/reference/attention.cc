#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

namespace {

// softmax(scale q k^T) v over `visible` tokens; key(j, d) and value(j, d) read them.
template <typename Key, typename Value>
void attend(const std::vector<float>& q, float scale, int64_t visible, const Key& key, const Value& value, float* out) {
  const auto head_dim = static_cast<int64_t>(q.size());
  std::vector<double> p(visible);
  double max = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < visible; ++j) {
    double score = 0;
    for (int64_t d = 0; d < head_dim; ++d) score += double{q[d]} * key(j, d);
    p[j] = score * scale;
    max = std::max(max, p[j]);
  }
  double sum = 0;
  for (double& x : p) sum += x = std::exp(x - max);
  for (int64_t d = 0; d < head_dim; ++d) {
    double o = 0;
    for (int64_t j = 0; j < visible; ++j) o += p[j] * value(j, d);
    out[d] = visible > 0 ? static_cast<float>(o / sum) : 0.0f;
  }
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args) {
  const auto& kv = static_cast<const ReferenceKv&>(*args.kv);
  const int32_t hd = kv.spec.head_dim;
  const int32_t group = args.num_heads / kv.spec.num_kv_heads;
  std::vector<float> q(hd), out(int64_t{args.num_heads} * hd);
  for (int64_t s = 0; s < *args.seqs.count; ++s) {
    const int32_t first = args.cu_seqlens[s];
    const int32_t end = args.cu_seqlens[s + 1];
    const int32_t* blocks = args.block_table + s * args.max_blocks;
    const auto slot = [&](int64_t j) { return int64_t{blocks[j / kv.block_size]} * kv.block_size + j % kv.block_size; };
    for (int32_t t = first; t < end; ++t) {
      const int64_t visible = args.context_lens[s] - (end - 1 - t);
      for (int32_t h = 0; h < args.num_heads; ++h) {
        for (int32_t d = 0; d < hd; ++d) q[d] = get_element(args.q, t, h * hd + d);
        attend(
            q, args.scale, std::max<int64_t>(visible, 0),
            [&](int64_t j, int64_t d) { return kv.at(args.layer, slot(j), false, h / group)[d]; },
            [&](int64_t j, int64_t d) { return kv.at(args.layer, slot(j), true, h / group)[d]; }, &out[h * hd]);
      }
      store_row(out.data(), args.out, t);
    }
  }
}

void attention_varlen(const AttentionVarlenArgs& args) {
  const int32_t hd = args.head_dim;
  const int64_t width = int64_t{args.num_heads} * hd;
  std::vector<float> q(hd), out(width);
  for (int64_t s = 0; s < *args.segments.count; ++s) {
    const int32_t first = args.cu_seqlens[s];
    const int32_t end = args.cu_seqlens[s + 1];
    for (int32_t t = first; t < end; ++t) {
      for (int32_t h = 0; h < args.num_heads; ++h) {
        for (int32_t d = 0; d < hd; ++d) q[d] = get_element(args.qkv, t, h * hd + d);
        attend(
            q, args.scale, end - first,
            [&](int64_t j, int64_t d) { return get_element(args.qkv, first + j, width + h * hd + d); },
            [&](int64_t j, int64_t d) { return get_element(args.qkv, first + j, 2 * width + h * hd + d); },
            &out[h * hd]);
      }
      store_row(out.data(), args.out, t);
    }
  }
}

}  // namespace glimpse::reference
