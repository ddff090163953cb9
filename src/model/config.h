#pragma once

// What config.json says of a model. Fields have the checkpoint's spelling, so that both can be read side by side.
// Facts and defaults: the GLM-V reference, sections 1.2 to 1.4.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/dtype.h"
#include "weights/quantization_config.h"

namespace glimpse {

struct RopeParameters {
  double rope_theta = 10000.0;
  double partial_rotary_factor = 0.5;
  std::array<int64_t, 3> mrope_section = {8, 12, 12};  // frequencies that use t, h, w; they add up to rotary_dim / 2

  bool operator==(const RopeParameters&) const = default;
};

struct TextConfig {
  int64_t vocab_size = 151552;
  int64_t hidden_size = 4096;
  int64_t num_hidden_layers = 40;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 2;
  int64_t head_dim = 128;
  int64_t intermediate_size = 13696;
  double rms_norm_eps = 1e-5;
  int64_t max_position_embeddings = 32768;
  RopeParameters rope_parameters;
  bool attention_bias = true;  // of q, k and v; o has none
  bool tie_word_embeddings = false;
  int64_t num_nextn_predict_layers = 0;  // extra layers behind num_hidden_layers, which decoding does not use
  std::optional<int64_t> pad_token_id;

  int64_t rotary_dim() const;  // of each head, the first elements that rotate; even
  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
  bool operator==(const TextConfig&) const = default;
};

struct VisionConfig {
  int64_t depth = 24;
  int64_t hidden_size = 1536;
  int64_t num_heads = 12;
  int64_t patch_size = 14;
  int64_t temporal_patch_size = 2;
  int64_t spatial_merge_size = 2;
  int64_t image_size = 336;  // of the learned position table: (image_size / patch_size)^2 positions
  int64_t in_channels = 3;
  int64_t out_hidden_size = 4096;     // the text's hidden_size, and the width of every block's MLP
  int64_t intermediate_size = 13696;  // the merger's inner width, nothing else
  double rms_norm_eps = 1e-5;
  bool attention_bias = false;  // of qkv
  double rope_theta = 10000.0;

  int64_t head_dim() const { return hidden_size / num_heads; }
  int64_t positions_per_side() const { return image_size / patch_size; }
  int64_t num_positions() const { return positions_per_side() * positions_per_side(); }
  int64_t patch_dim() const { return in_channels * temporal_patch_size * patch_size * patch_size; }
  bool operator==(const VisionConfig&) const = default;
};

struct ModelConfig {
  std::string model_type = "glm4v";
  TextConfig text;
  VisionConfig vision;
  int64_t image_token_id = 151343;
  int64_t image_start_token_id = 151339;
  int64_t image_end_token_id = 151340;
  int64_t video_token_id = 151344;
  int64_t video_start_token_id = 151341;
  int64_t video_end_token_id = 151342;
  std::vector<int64_t> eos_token_id;  // of config.json; see also GenerationConfig and resolve_eos
  std::optional<QuantizationConfig> quantization;
  std::optional<DType> dtype;  // what "dtype" (once "torch_dtype") says; the tensors know better

  bool operator==(const ModelConfig&) const = default;
};

// All layouts in circulation: flat (text fields at the top), nested with rope_theta and rope_scaling, nested with
// rope_parameters, and that with the vision tower's rope_parameters and num_attention_heads. A rope field is looked up
// in rope_parameters, rope_scaling, then beside them. Every value is bounded and the ones that belong together are
// compared.
// Errors: kInvalidData naming the field ("text_config.hidden_size"); kUnsupported for another model type, a rope type
// or activation we do not have, and quantised weights, with what was found and what is known.
Result<ModelConfig> parse_model_config(const json::object& root);
// The same from the file's text; `path` begins every message.
Result<ModelConfig> parse_model_config(std::string_view text, std::string_view path);

}  // namespace glimpse
