#include "kernels/elements.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

namespace {

// Rotates the first 2 * num_pairs elements of a head.
void rotate(float* head, const QkvRopeKvArgs& args, int64_t t) {
  for (int32_t i = 0; i < args.num_pairs; ++i) {
    const bool interleaved = args.layout == RopeLayout::kInterleaved;
    float& a = head[interleaved ? 2 * i : i];
    float& b = head[interleaved ? 2 * i + 1 : i + args.num_pairs];
    const float cos = args.cos[t * args.num_pairs + i];
    const float sin = args.sin[t * args.num_pairs + i];
    const float rotated_a = a * cos - b * sin;
    b = b * cos + a * sin;
    a = rotated_a;
  }
}

}  // namespace

void qkv_rope_kv(const QkvRopeKvArgs& args) {
  const auto& weight = static_cast<const ReferenceLinear&>(*args.weight);
  const int32_t hd = args.head_dim;
  const int64_t k_at = int64_t{args.num_heads} * hd;
  const int64_t v_at = k_at + int64_t{args.num_kv_heads} * hd;
  std::vector<float> row(weight.rows);
  for (int64_t t = 0; t < *args.tokens.count; ++t) {
    project_row(weight, args.x, t, row.data());
    for (int64_t c = 0; c < v_at; c += hd) rotate(row.data() + c, args, t);
    if (args.qkv) {
      for (int64_t c = 0; c < weight.rows; ++c) put_element(args.qkv, t, c, row[c]);
      continue;
    }
    for (int64_t c = 0; c < k_at; ++c) put_element(args.q, t, c, row[c]);
    auto& kv = static_cast<ReferenceKv&>(*args.kv);
    const int32_t slot = args.slot_mapping[t];
    if (slot < 0) continue;
    const auto rounded = [&](float x) { return kv.spec.dtype == DType::kBF16 ? to_float(to_bf16(x)) : x; };
    for (int32_t h = 0; h < args.num_kv_heads; ++h) {
      for (int32_t d = 0; d < hd; ++d) {
        kv.at(args.layer, slot, false, h)[d] = rounded(row[k_at + h * hd + d]);
        kv.at(args.layer, slot, true, h)[d] = rounded(row[v_at + h * hd + d]);
      }
    }
  }
}

void kv_read(const KvCache& cache, int32_t layer, int32_t slot, float* k, float* v) {
  const auto& kv = static_cast<const ReferenceKv&>(cache);
  for (int32_t h = 0; h < kv.spec.num_kv_heads; ++h) {
    for (int32_t d = 0; d < kv.spec.head_dim; ++d) {
      *k++ = kv.at(layer, slot, false, h)[d];
      *v++ = kv.at(layer, slot, true, h)[d];
    }
  }
}

}  // namespace glimpse::reference
