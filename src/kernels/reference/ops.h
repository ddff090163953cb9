#pragma once

// The definition of every op: plain loops in float32 with float64 sums, single-threaded, no blocking. What these
// functions compute is what kernels/ops.h promises; every other back end is tested against them.

#include <functional>
#include <vector>

#include "kernels/ops.h"

namespace glimpse::reference {

struct ReferenceLinear final : PackedLinear {
  std::span<const std::byte> bytes() const override { return std::as_bytes(std::span(weights)); }
  const float* row(int64_t n) const { return weights.data() + n * cols; }

  std::vector<float> weights;  // [rows, cols], the quantised values where the format is quantised
  std::vector<float> bias;     // [rows]
};

// Keys and values as float32, rounded to the cache's dtype.
struct ReferenceKv final : KvCache {
  float* at(int32_t layer, int64_t slot, bool value, int32_t kv_head) {
    const int64_t slots = int64_t{spec.num_blocks} * block_size;
    return data.data() + (((layer * slots + slot) * 2 + (value ? 1 : 0)) * spec.num_kv_heads + kv_head) * spec.head_dim;
  }
  const float* at(int32_t layer, int64_t slot, bool value, int32_t kv_head) const {
    return const_cast<ReferenceKv*>(this)->at(layer, slot, value, kv_head);
  }
  std::vector<float> data;
};

std::unique_ptr<ReferenceLinear> pack(const LinearSpec& spec, const RowReader& read);

// Writes a row in the format that `y` asks for (kernels/quantization.h).
void store_row(const float* values, const Activation& y, int64_t r);
// y[n] = sum_k W[n, k] x[r, k] + bias[n], summed in float64.
void project_row(const ReferenceLinear& weight, const Activation& x, int64_t r, float* y);
// x / sqrt(mean(x^2) + eps) * weight
void rms_norm_row(const float* x, const float* weight, float eps, int64_t cols, float* y);
// 0.5 x (1 + erf(x / sqrt 2))
float gelu(float x);

void embed(const EmbedArgs& args);
void add_norm(const AddNormArgs& args);
void rope_table(const RopeTableArgs& args);
void qkv_rope_kv(const QkvRopeKvArgs& args);
void attention_paged(const AttentionPagedArgs& args);
void attention_varlen(const AttentionVarlenArgs& args);
void gate_up_silu(const GateUpSiluArgs& args);
void linear(const LinearArgs& args);
void layernorm_gelu(const LayerNormGeluArgs& args);
void patch_embed_pos(const PatchEmbedPosArgs& args);
void cut_picture(const CutPictureArgs& args);
void kv_read(const KvCache& kv, int32_t layer, int32_t slot, float* k, float* v);

}  // namespace glimpse::reference
