#pragma once

// The CPU back end's ops that are not products (those are in matmul.h). Each computes what kernels/ops.h says;
// workspace functions give the bytes of Context::workspace that it uses.

#include "kernels/cpu/context.h"
#include "kernels/ops.h"

namespace glimpse::cpu {

void embed(const EmbedArgs& args, Context& context);
void add_norm(const AddNormArgs& args, Context& context);
void rope_table(const RopeTableArgs& args, Context& context);
void qkv_rope_kv(const QkvRopeKvArgs& args, Context& context);
void attention_paged(const AttentionPagedArgs& args, Context& context);
void attention_varlen(const AttentionVarlenArgs& args, Context& context);
void layernorm_gelu(const LayerNormGeluArgs& args, Context& context);
void patch_embed_pos(const PatchEmbedPosArgs& args, Context& context);

size_t qkv_rope_kv_workspace(const QkvRopeKvArgs& args);
size_t attention_paged_workspace(const AttentionPagedArgs& args);
size_t attention_varlen_workspace(const AttentionVarlenArgs& args);
size_t patch_embed_pos_workspace(const PatchEmbedPosArgs& args);

struct KvReadArgs {
  const KvCache* kv = nullptr;
  int32_t layer = 0;
  int32_t slot = 0;
  float* k = nullptr;
  float* v = nullptr;
};
void kv_read(const KvReadArgs& args, Context& context);

}  // namespace glimpse::cpu
