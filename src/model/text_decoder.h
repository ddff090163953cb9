#pragma once

// The text decoder of the glm4v family (glm-v.md 2): sandwich norms, GQA with partial multimodal rope, SwiGLU.

#include <memory>
#include <vector>

#include "kernels/ops.h"
#include "model/arena.h"
#include "model/config.h"
#include "model/step_inputs.h"

namespace glimpse {

// Loaded once (loader.h). Norm weights are float32 in device memory.
struct TextWeights {
  struct Layer {
    const float* input_layernorm = nullptr;           // [hidden]
    std::unique_ptr<PackedLinear> qkv_proj;           // [q + 2 kv, hidden] + bias
    std::unique_ptr<PackedLinear> o_proj;             // [hidden, q]
    const float* post_self_attn_layernorm = nullptr;  // [hidden], on the attention branch
    const float* post_attention_layernorm = nullptr;  // [hidden], before the MLP despite its name
    std::unique_ptr<PackedLinear> gate_up_proj;       // [2 intermediate, hidden]
    std::unique_ptr<PackedLinear> down_proj;          // [hidden, intermediate]
    const float* post_mlp_layernorm = nullptr;        // [hidden], on the MLP branch
  };
  Matrix embed_tokens;  // [vocab, hidden]; may lie in a mapped file, which `owner` keeps
  std::vector<Layer> layers;
  const float* norm = nullptr;            // [hidden]
  std::unique_ptr<PackedLinear> lm_head;  // [vocab, hidden]
  std::shared_ptr<void> owner;            // keeps alive what the pointers above lie in
};

class TextDecoder {
 public:
  // Allocates everything a step needs. `images` is where the vision tower's rows lie (may be empty: no pictures);
  // `last_ids` [slots] is the sampler's device state. Errors: kResource.
  static Result<std::unique_ptr<TextDecoder>> create(Backend& backend, const TextConfig& config, TextWeights weights,
                                                     const StepInputs& inputs, KvCache& kv, Matrix images,
                                                     const int32_t* last_ids, Stream& stream);

  // Enqueues one step over what the step's inputs say: KV of its tokens is written, logits() of the wanted ones. The
  // inputs' counts may not exceed `shape`, nor that the limits: a captured step has the shape of its class of batches.
  void forward(const StepShape& shape, Stream& stream);

  // [max_seqs, vocab] float32; row i belongs to logits_idx[i] of the step.
  const Matrix& logits() const { return logits_.values; }
  // Workspace that forward() needs.
  size_t workspace_bytes() const;
  // Bytes of the activations, and of all packed weights and norms.
  size_t activation_bytes() const { return arena_.total_bytes(); }

 private:
  explicit TextDecoder(Backend& backend) : arena_(backend) {}

  // The ops' arguments of a layer; capacities and addresses never change, so they are made once.
  struct LayerArgs {
    AddNormArgs attention_norm;
    QkvRopeKvArgs qkv;
    AttentionPagedArgs attention;
    LinearArgs o_proj;
    AddNormArgs mlp_norm;
    GateUpSiluArgs gate_up;
    LinearArgs down_proj;
  };
  Status build(const TextConfig& config, const StepInputs& inputs, KvCache& kv, Matrix images, const int32_t* last_ids,
               Stream& stream);

  TextWeights weights_;
  Arena arena_;
  EmbedArgs embed_;
  RopeTableArgs rope_;
  std::vector<LayerArgs> layers_;
  AddNormArgs final_norm_;
  LinearArgs head_;
  Activation logits_;
  const OpTable* ops_ = nullptr;
};

}  // namespace glimpse
