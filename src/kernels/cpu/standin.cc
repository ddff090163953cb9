// Stands in for ops that are still being written: the reference, behind the CPU back end's streams.

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/reference/ops.h"

namespace glimpse::cpu {

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
  reference::qkv_rope_kv(args);
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
  reference::patch_embed_pos(args);
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

Result<std::unique_ptr<PackedLinear>> pack_linear(const LinearSpec& spec, const RowReader& read, Context&) {
  return std::unique_ptr<PackedLinear>(reference::pack(spec, read));
}

Result<std::unique_ptr<PackedLinear>> adopt_linear(const LinearSpec& spec, std::span<const std::byte> bytes) {
  return make_reference_backend()->adopt(spec, bytes);
}

const char* linear_layout() {
  return "standin";
}

void linear(const LinearArgs& args, Context&) {
  reference::linear(args);
}
void gate_up_silu(const GateUpSiluArgs& args, Context&) {
  reference::gate_up_silu(args);
}
size_t linear_workspace(const LinearArgs&) {
  return 0;
}
size_t gate_up_silu_workspace(const GateUpSiluArgs&) {
  return 0;
}

}  // namespace glimpse::cpu
