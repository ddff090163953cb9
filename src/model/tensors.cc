#include "model/tensors.h"

#include <algorithm>
#include <set>

#include "base/quote.h"
#include "weights/convert.h"
#include "weights/safetensors.h"

namespace glimpse {

namespace {

constexpr std::string_view kTextLayers = "model.language_model.layers.";

void add_text(const TextConfig& text, std::vector<TensorSpec>& specs) {
  const int64_t hidden = text.hidden_size;
  specs.push_back({"model.language_model.embed_tokens.weight", {text.vocab_size, hidden}});
  for (int64_t layer = 0; layer < text.num_hidden_layers; ++layer) {
    const std::string prefix = text_layer_prefix(layer);
    for (const char* norm :
         {"input_layernorm", "post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"}) {
      specs.push_back({prefix + norm + ".weight", {hidden}});
    }
    const auto projection = [&](const char* name, int64_t out) {
      specs.push_back({prefix + "self_attn." + name + ".weight", {out, hidden}});
      if (text.attention_bias) specs.push_back({prefix + "self_attn." + name + ".bias", {out}});
    };
    projection("q_proj", text.q_size());
    projection("k_proj", text.kv_size());
    projection("v_proj", text.kv_size());
    specs.push_back({prefix + "self_attn.o_proj.weight", {hidden, text.q_size()}});
    specs.push_back({prefix + "mlp.gate_up_proj.weight", {2 * text.intermediate_size, hidden}});
    specs.push_back({prefix + "mlp.down_proj.weight", {hidden, text.intermediate_size}});
  }
  specs.push_back({"model.language_model.norm.weight", {hidden}});
  if (!text.tie_word_embeddings) specs.push_back({"lm_head.weight", {text.vocab_size, hidden}});
}

void add_vision(const VisionConfig& vision, std::vector<TensorSpec>& specs) {
  const std::string tower = "model.visual.";
  const int64_t hidden = vision.hidden_size;
  const int64_t out = vision.out_hidden_size;
  const int64_t inner = vision.intermediate_size;
  specs.push_back({tower + "patch_embed.proj.weight",
                   {hidden, vision.in_channels, vision.temporal_patch_size, vision.patch_size, vision.patch_size}});
  specs.push_back({tower + "patch_embed.proj.bias", {hidden}});
  specs.push_back({tower + "embeddings.position_embedding.weight", {vision.num_positions(), hidden}});
  specs.push_back({tower + "post_conv_layernorm.weight", {hidden}});
  for (int64_t block = 0; block < vision.depth; ++block) {
    const std::string prefix = vision_block_prefix(block);
    specs.push_back({prefix + "norm1.weight", {hidden}});
    specs.push_back({prefix + "norm2.weight", {hidden}});
    specs.push_back({prefix + "attn.qkv.weight", {3 * hidden, hidden}});
    if (vision.attention_bias) specs.push_back({prefix + "attn.qkv.bias", {3 * hidden}});
    specs.push_back({prefix + "attn.proj.weight", {hidden, hidden}});
    specs.push_back({prefix + "mlp.gate_proj.weight", {out, hidden}});
    specs.push_back({prefix + "mlp.up_proj.weight", {out, hidden}});
    specs.push_back({prefix + "mlp.down_proj.weight", {hidden, out}});
  }
  specs.push_back({tower + "post_layernorm.weight", {hidden}});
  specs.push_back({tower + "downsample.weight", {out, hidden, vision.spatial_merge_size, vision.spatial_merge_size}});
  specs.push_back({tower + "downsample.bias", {out}});
  specs.push_back({tower + "merger.proj.weight", {out, out}});
  specs.push_back({tower + "merger.post_projection_norm.weight", {out}});
  specs.push_back({tower + "merger.post_projection_norm.bias", {out}});
  specs.push_back({tower + "merger.gate_proj.weight", {inner, out}});
  specs.push_back({tower + "merger.up_proj.weight", {inner, out}});
  specs.push_back({tower + "merger.down_proj.weight", {out, inner}});
}

// Rotary tables that older transformers saved, the prediction layers behind the last one, and the head of a model
// whose head is the embedding.
bool is_ignorable(const ModelConfig& config, std::string_view name) {
  if (name.ends_with("inv_freq")) return true;
  if (name == "lm_head.weight") return config.text.tie_word_embeddings;
  for (int64_t extra = 0; extra < config.text.num_nextn_predict_layers; ++extra) {
    if (name.starts_with(text_layer_prefix(config.text.num_hidden_layers + extra))) return true;
  }
  return false;
}

// "3 tensors are missing ("a", "b", ...)".
void describe(std::string& text, const std::vector<std::string>& names, std::string_view what) {
  if (names.empty()) return;
  if (!text.empty()) text += "; ";
  text +=
      std::to_string(names.size()) + (names.size() == 1 ? " tensor is " : " tensors are ") + std::string(what) + " (";
  for (size_t i = 0; i < names.size() && i < 3; ++i) text += (i > 0 ? ", " : "") + names[i];
  text += names.size() > 3 ? ", ...)" : ")";
}

}  // namespace

std::string text_layer_prefix(int64_t layer) {
  return std::string(kTextLayers) + std::to_string(layer) + ".";
}

std::string vision_block_prefix(int64_t block) {
  return "model.visual.blocks." + std::to_string(block) + ".";
}

std::vector<TensorSpec> expected_tensors(const ModelConfig& config) {
  std::vector<TensorSpec> specs;
  add_text(config.text, specs);
  add_vision(config.vision, specs);
  return specs;
}

TensorAccount account_tensors(const ModelConfig& config, const WeightSource& source) {
  TensorAccount account;
  std::set<std::string, std::less<>> expected;
  for (TensorSpec& spec : expected_tensors(config)) {
    const TensorInfo* info = source.find(spec.name);
    if (info == nullptr) {
      expected.insert(spec.name);
      account.missing.push_back(std::move(spec));
      continue;
    }
    if (info->shape != spec.shape) {
      account.wrong.push_back(in_quotes(spec.name) + " is " + shape_text(info->shape) + ", not " +
                              shape_text(spec.shape));
    } else if (!is_float(info->dtype)) {
      account.wrong.push_back(in_quotes(spec.name) + " is " + std::string(dtype_name(info->dtype)) + ", not a float");
    }
    expected.insert(std::move(spec.name));
  }
  for (const TensorInfo& info : source.tensors()) {
    if (expected.contains(info.name)) continue;
    (is_ignorable(config, info.name) ? account.ignored : account.unexpected).push_back(info.name);
  }
  return account;
}

Status require_complete(const TensorAccount& account, std::string_view label) {
  if (account.complete()) return {};
  std::vector<std::string> missing;
  missing.reserve(account.missing.size());
  for (const TensorSpec& spec : account.missing) missing.push_back(in_quotes(spec.name));
  std::vector<std::string> unexpected;
  unexpected.reserve(account.unexpected.size());
  for (const std::string& name : account.unexpected) unexpected.push_back(in_quotes(name));
  std::string text;
  describe(text, missing, "missing");
  describe(text, account.wrong, "not as the config says");
  describe(text, unexpected, "unexpected");
  return Error{ErrorCode::kInvalidData, std::string(label) + ": " + text};
}

}  // namespace glimpse
