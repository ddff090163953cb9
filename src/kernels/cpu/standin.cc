// Stands in for ops that are still being written: the reference, behind the CPU back end's streams.

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/pack.h"
#include "kernels/reference/ops.h"

namespace glimpse::cpu {

namespace {

reference::ReferenceLinear unpacked(const PackedLinear& weight) {
  const auto& packed = static_cast<const Packed&>(weight);
  reference::ReferenceLinear linear;
  linear.rows = packed.rows;
  linear.cols = packed.cols;
  linear.weights.resize(packed.rows * packed.cols);
  linear.bias.resize(packed.rows);
  packed.unpack(linear.weights.data());
  for (int64_t p = 0; p < packed.num_panels(); ++p) {
    for (int64_t lane = 0; packed.bias(p) != nullptr && lane < kPanelRows; ++lane) {
      if (packed.row_of(p, lane) >= 0) linear.bias[packed.row_of(p, lane)] = packed.bias(p)[lane];
    }
  }
  return linear;
}

}  // namespace

void embed(const EmbedArgs& args, Context&) {
  reference::embed(args);
}
void add_norm(const AddNormArgs& args, Context&) {
  reference::add_norm(args);
}
void rope_table(const RopeTableArgs& args, Context&) {
  reference::rope_table(args);
}
void qkv_rope_kv(const QkvRopeKvArgs& args, Context&) {
  const auto weight = unpacked(*args.weight);
  QkvRopeKvArgs plain = args;
  plain.weight = &weight;
  reference::qkv_rope_kv(plain);
}
void attention_paged(const AttentionPagedArgs& args, Context&) {
  reference::attention_paged(args);
}
void attention_varlen(const AttentionVarlenArgs& args, Context&) {
  reference::attention_varlen(args);
}
void layernorm_gelu(const LayerNormGeluArgs& args, Context&) {
  reference::layernorm_gelu(args);
}
void patch_embed_pos(const PatchEmbedPosArgs& args, Context&) {
  const auto weight = unpacked(*args.weight);
  PatchEmbedPosArgs plain = args;
  plain.weight = &weight;
  reference::patch_embed_pos(plain);
}
void kv_read(const KvReadArgs& args, Context&) {
  reference::kv_read(*args.kv, args.layer, args.slot, args.k, args.v);
}

Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec, Backend&) {
  return make_reference_backend()->make_kv(spec);
}

size_t qkv_rope_kv_workspace(const QkvRopeKvArgs&) {
  return 0;
}
size_t attention_paged_workspace(const AttentionPagedArgs&) {
  return 0;
}
size_t attention_varlen_workspace(const AttentionVarlenArgs&) {
  return 0;
}
size_t patch_embed_pos_workspace(const PatchEmbedPosArgs&) {
  return 0;
}

}  // namespace glimpse::cpu
