#include "model/text_decoder.h"

#include <algorithm>
#include <cmath>

namespace glimpse {

Result<std::unique_ptr<TextDecoder>> TextDecoder::create(Backend& backend, const TextConfig& config,
                                                         TextWeights weights, const StepInputs& inputs, KvCache& kv,
                                                         Matrix images, const int32_t* last_ids, Stream& stream) {
  auto decoder = std::unique_ptr<TextDecoder>(new TextDecoder(backend));
  decoder->weights_ = std::move(weights);
  decoder->ops_ = &backend.ops();
  RETURN_IF_ERROR(decoder->build(config, inputs, kv, images, last_ids, stream));
  return decoder;
}

void TextDecoder::forward(const StepShape& shape, Stream& stream) {
  // The arguments are those of the largest step; a smaller one differs in nothing but its capacities.
  const auto with = [](auto args, auto member, int32_t capacity) {
    (args.*member).capacity = capacity;
    return args;
  };
  const int32_t tokens = shape.num_tokens;
  embed(with(embed_, &EmbedArgs::tokens, tokens), stream);
  rope_table(with(rope_, &RopeTableArgs::tokens, tokens), stream);
  for (const LayerArgs& layer : layers_) {
    add_norm(with(layer.attention_norm, &AddNormArgs::rows, tokens), stream);
    qkv_rope_kv(with(layer.qkv, &QkvRopeKvArgs::tokens, tokens), stream);
    attention_paged(
        with(with(layer.attention, &AttentionPagedArgs::tokens, tokens), &AttentionPagedArgs::seqs, shape.num_seqs),
        stream);
    linear(with(layer.o_proj, &LinearArgs::rows, tokens), stream);
    add_norm(with(layer.mlp_norm, &AddNormArgs::rows, tokens), stream);
    gate_up_silu(with(layer.gate_up, &GateUpSiluArgs::rows, tokens), stream);
    linear(with(layer.down_proj, &LinearArgs::rows, tokens), stream);
  }
  if (shape.num_logits == 0) return;
  add_norm(with(final_norm_, &AddNormArgs::rows, shape.num_logits), stream);
  linear(with(head_, &LinearArgs::rows, shape.num_logits), stream);
}

Status TextDecoder::build(const TextConfig& config, const StepInputs& inputs, KvCache& kv, Matrix images,
                          const int32_t* last_ids, Stream& stream) {
  const StepLimits& limits = inputs.limits();
  const StepFields<const int32_t>& step = inputs.device();
  const int64_t tokens = limits.max_tokens;
  const PackedLinear& first_qkv = *weights_.layers.front().qkv_proj;
  Backend& backend = stream.backend();
  const DType residual = backend.residual_dtype(first_qkv.format);
  const auto eps = static_cast<float>(config.rms_norm_eps);

  // Buffers. Every layer uses the same ones, in turn.
  ASSIGN_OR_RETURN(const Matrix x, arena_.matrix(tokens, config.hidden_size, residual));
  ASSIGN_OR_RETURN(const Matrix branch,
                   arena_.matrix(tokens, config.hidden_size, backend.branch_dtype(first_qkv.format)));
  using Layer = TextWeights::Layer;
  const auto all_f8 = [&](auto... readers) {
    return std::all_of(weights_.layers.begin(), weights_.layers.end(),
                       [&](const Layer& layer) { return (((layer.*readers)->format == WeightFormat::kF8) && ...); });
  };
  ASSIGN_OR_RETURN(const Activation normed, arena_.step_activation(tokens, config.hidden_size, first_qkv,
                                                                   all_f8(&Layer::qkv_proj, &Layer::gate_up_proj)));
  ASSIGN_OR_RETURN(const Matrix q, arena_.matrix(tokens, config.q_size(), kv.spec.dtype));
  ASSIGN_OR_RETURN(
      const Activation attended,
      arena_.step_activation(tokens, config.q_size(), *weights_.layers.front().o_proj, all_f8(&Layer::o_proj)));
  ASSIGN_OR_RETURN(const Activation inner,
                   arena_.step_activation(tokens, config.intermediate_size, *weights_.layers.front().down_proj,
                                          all_f8(&Layer::down_proj)));
  ASSIGN_OR_RETURN(const Activation final_normed,
                   arena_.step_activation(limits.max_seqs, config.hidden_size, *weights_.lm_head,
                                          weights_.lm_head->format == WeightFormat::kF8));
  ASSIGN_OR_RETURN(const Matrix logits, arena_.matrix(limits.max_seqs, weights_.lm_head->rows, DType::kF32));
  logits_ = plain(logits);

  // Rope: f[i] = theta^(-2i / rotary_dim); sections are contiguous over the axes t, h, w (glm-v.md 2.3).
  const auto num_pairs = static_cast<int32_t>(config.rotary_dim() / 2);
  std::vector<float> inv_freq(static_cast<size_t>(num_pairs));
  std::vector<uint8_t> axis(static_cast<size_t>(num_pairs));
  const auto& section = config.rope_parameters.mrope_section;
  for (int32_t i = 0; i < num_pairs; ++i) {
    const auto exponent = static_cast<float>(2 * i) / static_cast<float>(config.rotary_dim());
    inv_freq[static_cast<size_t>(i)] = 1.0f / std::pow(static_cast<float>(config.rope_parameters.rope_theta), exponent);
    axis[static_cast<size_t>(i)] = i < section[0] ? 0 : i < section[0] + section[1] ? 1 : 2;
  }
  rope_ = {.tokens = inputs.tokens(), .positions = step.positions, .axis_stride = tokens, .num_pairs = num_pairs};
  ASSIGN_OR_RETURN(rope_.inv_freq, arena_.constant<float>(inv_freq, stream));
  ASSIGN_OR_RETURN(rope_.axis, arena_.constant<uint8_t>(axis, stream));
  ASSIGN_OR_RETURN(rope_.cos, arena_.array<float>(static_cast<size_t>(tokens * num_pairs)));
  ASSIGN_OR_RETURN(rope_.sin, arena_.array<float>(static_cast<size_t>(tokens * num_pairs)));

  embed_ = {.tokens = inputs.tokens(),
            .token_ids = step.token_ids,
            .last_ids = last_ids,
            .image_rows = step.image_rows,
            .table = weights_.embed_tokens,
            .images = images,
            .x = x};

  const float* previous_branch_norm = nullptr;  // of the branch that is still to be added to x
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const TextWeights::Layer& w = weights_.layers[i];
    const auto layer = static_cast<int32_t>(i);
    LayerArgs& args = layers_.emplace_back();
    args.attention_norm = {.rows = inputs.tokens(),
                           .x = x,
                           .branch = i == 0 ? Matrix{} : branch,
                           .branch_weight = previous_branch_norm,
                           .weight = w.input_layernorm,
                           .eps = eps,
                           .y = normed};
    args.qkv = {.tokens = inputs.tokens(),
                .x = normed,
                .weight = w.qkv_proj.get(),
                .num_heads = static_cast<int32_t>(config.num_attention_heads),
                .num_kv_heads = static_cast<int32_t>(config.num_key_value_heads),
                .head_dim = static_cast<int32_t>(config.head_dim),
                .cos = rope_.cos,
                .sin = rope_.sin,
                .num_pairs = num_pairs,
                .layout = RopeLayout::kInterleaved,
                .kv = &kv,
                .layer = layer,
                .slot_mapping = step.slot_mapping,
                .q = q};
    args.attention = {.tokens = inputs.tokens(),
                      .seqs = inputs.seqs(),
                      .cu_seqlens = step.cu_seqlens,
                      .context_lens = step.context_lens,
                      .block_table = step.block_table,
                      .max_blocks = limits.max_blocks_per_seq,
                      .kv = &kv,
                      .layer = layer,
                      .num_heads = static_cast<int32_t>(config.num_attention_heads),
                      .scale = 1.0f / std::sqrt(static_cast<float>(config.head_dim)),
                      .q = q,
                      .out = attended};
    args.o_proj = {.rows = inputs.tokens(), .x = attended, .weight = w.o_proj.get(), .y = plain(branch)};
    args.mlp_norm = {.rows = inputs.tokens(),
                     .x = x,
                     .branch = branch,
                     .branch_weight = w.post_self_attn_layernorm,
                     .weight = w.post_attention_layernorm,
                     .eps = eps,
                     .y = normed};
    args.gate_up = {.rows = inputs.tokens(), .x = normed, .weight = w.gate_up_proj.get(), .y = inner};
    args.down_proj = {.rows = inputs.tokens(), .x = inner, .weight = w.down_proj.get(), .y = plain(branch)};
    previous_branch_norm = w.post_mlp_layernorm;
  }
  // Only the rows whose logits are wanted go on: the rest of x is not needed any more.
  final_norm_ = {.rows = inputs.logits(),
                 .row_idx = step.logits_idx,
                 .x = x,
                 .branch = branch,
                 .branch_weight = previous_branch_norm,
                 .weight = weights_.norm,
                 .eps = eps,
                 .y = final_normed};
  head_ = {.rows = inputs.logits(), .x = final_normed, .weight = weights_.lm_head.get(), .y = logits_};
  return {};
}

size_t TextDecoder::workspace_bytes() const {
  size_t bytes = ops_->linear_workspace(head_);
  for (const LayerArgs& layer : layers_) {
    bytes = std::max({bytes, ops_->qkv_rope_kv_workspace(layer.qkv), ops_->attention_paged_workspace(layer.attention),
                      ops_->linear_workspace(layer.o_proj), ops_->gate_up_silu_workspace(layer.gate_up),
                      ops_->linear_workspace(layer.down_proj)});
  }
  return bytes;
}

}  // namespace glimpse
