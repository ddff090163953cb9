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

namespace {

// Columns [c0, c0 + count) of a row, whole groups, of which `row` has the values.
void store_part(const std::vector<float>& row, int64_t c0, int64_t count, const Activation& y, int64_t r) {
  Activation one = y;  // a row of its own, so that the other columns stay as they are
  std::vector<std::byte> values(row.size() * dtype_bytes(y.values.dtype));
  std::vector<float> scales(std::max<int64_t>(y.num_groups(), 1));
  std::vector<int32_t> sums(scales.size());
  one.values.data = values.data();
  one.scales = scales.data();
  one.sums = y.sums == nullptr ? nullptr : sums.data();
  store_row(row.data(), one, 0);
  const auto bytes = static_cast<int64_t>(dtype_bytes(y.values.dtype));
  std::copy_n(values.data() + c0 * bytes, count * bytes,
              static_cast<std::byte*>(y.values.data) + (r * y.values.stride + c0) * bytes);
  if (y.values.dtype != DType::kI8) return;
  for (int64_t g = c0 / y.group; g < (c0 + count + y.group - 1) / y.group; ++g) {
    y.scales[r * y.num_groups() + g] = scales[g];
    if (y.sums != nullptr) y.sums[r * y.num_groups() + g] = sums[g];
  }
}

}  // namespace

void attention_varlen(const AttentionVarlenArgs& args) {
  const int32_t hd = args.head_dim;
  const int64_t width = int64_t{args.num_heads} * hd;
  std::vector<float> q(hd), out(width);
  for (int64_t s = 0; s < *args.segments.count; ++s) {
    const int32_t first = args.cu_seqlens[s];
    const int32_t end = args.cu_seqlens[s + 1];
    for (int32_t t = std::max(first, args.first_query); t < std::min(end, args.end_query()); ++t) {
      for (int32_t h = args.first_head; h < args.end_head(); ++h) {
        for (int32_t d = 0; d < hd; ++d) q[d] = get_element(args.qkv, t, h * hd + d);
        attend(
            q, args.scale, end - first,
            [&](int64_t j, int64_t d) { return get_element(args.qkv, first + j, width + h * hd + d); },
            [&](int64_t j, int64_t d) { return get_element(args.qkv, first + j, 2 * width + h * hd + d); },
            &out[h * hd]);
      }
      store_part(out, int64_t{args.first_head} * hd, int64_t{args.end_head() - args.first_head} * hd, args.out, t);
    }
  }
}

}  // namespace glimpse::reference
