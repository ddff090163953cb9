#pragma once

// The ops of the CUDA back end, as ops.h declares them.

#include "kernels/ops.h"

namespace glimpse::cuda {

class CudaStream;

void embed(const EmbedArgs& args, CudaStream& stream);
void add_norm(const AddNormArgs& args, CudaStream& stream);
void rope_table(const RopeTableArgs& args, CudaStream& stream);
void qkv_rope_kv(const QkvRopeKvArgs& args, CudaStream& stream);
void attention_paged(const AttentionPagedArgs& args, CudaStream& stream);
void attention_varlen(const AttentionVarlenArgs& args, CudaStream& stream);
void gate_up_silu(const GateUpSiluArgs& args, CudaStream& stream);
void linear(const LinearArgs& args, CudaStream& stream);
void layernorm_gelu(const LayerNormGeluArgs& args, CudaStream& stream);
void patch_embed_pos(const PatchEmbedPosArgs& args, CudaStream& stream);
void cut_picture(const CutPictureArgs& args, CudaStream& stream);
void sample(const SampleArgs& args, CudaStream& stream);
void kv_read(const KvCache& kv, int32_t layer, int32_t slot, float* k, float* v, CudaStream& stream);

size_t qkv_rope_kv_workspace(const QkvRopeKvArgs& args);
size_t attention_paged_workspace(const AttentionPagedArgs& args);
size_t attention_varlen_workspace(const AttentionVarlenArgs& args);
size_t gate_up_silu_workspace(const GateUpSiluArgs& args);
size_t linear_workspace(const LinearArgs& args);
size_t patch_embed_pos_workspace(const PatchEmbedPosArgs& args);
size_t cut_picture_workspace(const CutPictureArgs& args);
size_t sample_workspace(const SampleArgs& args);

}  // namespace glimpse::cuda
