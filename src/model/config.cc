#include "model/config.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/quote.h"
#include "model/fields.h"

namespace glimpse {

// Bounds keep every product of two of these inside an int64_t, and refuse what no machine could hold anyway.
namespace {

constexpr int64_t kMaxWidth = 65536;
constexpr int64_t kMaxLayers = 512;
constexpr int64_t kMaxHeads = 1024;
constexpr int64_t kMaxVocab = int64_t{1} << 22;
constexpr int64_t kMaxTokenId = kMaxVocab - 1;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
constexpr double kMaxTheta = 1e15;
constexpr size_t kMaxEosIds = 64;

// Types that exist and are not glm4v; each is a model of its own.
constexpr std::array<std::string_view, 6> kOtherTypes = {"glm4v_moe", "glm_ocr", "chatglm", "glm46v", "glmasr", "glm4"};

void require(Fields& fields, std::string_view key, bool ok, std::string_view reason) {
  if (!ok) fields.fail(key, reason);
}

Status check_model_type(Fields& root) {
  const std::string type = root.string("model_type", "");
  RETURN_IF_ERROR(root.status());
  if (type == "glm4v") return {};
  if (type.empty()) {
    root.fail("model_type", "is missing; it must be \"glm4v\"");
  } else if (std::find(kOtherTypes.begin(), kOtherTypes.end(), type) != kOtherTypes.end()) {
    root.fail("model_type", "is " + in_quotes(type) + ", which is not supported yet; known: \"glm4v\"",
              ErrorCode::kUnsupported);
  } else {
    root.fail("model_type", "is " + in_quotes(type) + ", which is not a type this program knows; known: \"glm4v\"",
              ErrorCode::kUnsupported);
  }
  return root.status();
}

// The one place of a config that says a checkpoint is quantised.
std::optional<QuantizationConfig> read_quantization(Fields& fields, const json::object& object) {
  if (!fields.child("quantization_config")) return std::nullopt;
  auto config = parse_quantization_config(object.at("quantization_config").get_object());
  if (config) return *config;
  fields.fail("quantization_config", config.error().message, config.error().code);
  return std::nullopt;
}

void check_sub_type(Fields& fields, std::initializer_list<std::string_view> accepted) {
  const std::string type = fields.string("model_type", "");
  if (type.empty() || std::find(accepted.begin(), accepted.end(), type) != accepted.end()) return;
  fields.fail("model_type", "is " + in_quotes(type) + ", which does not belong into a glm4v config",
              ErrorCode::kUnsupported);
}

void check_activation(Fields& fields) {
  const std::string act = fields.string("hidden_act", "silu");
  if (act != "silu") {
    fields.fail("hidden_act", "is " + in_quotes(act) + ", only \"silu\" is supported", ErrorCode::kUnsupported);
  }
}

// Where a rope field is: rope_parameters, then rope_scaling, then beside them. In an old rope_scaling the type is
// called "type".
class RopeFields {
 public:
  explicit RopeFields(Fields& beside) : beside_(beside) {
    for (const std::string_view name : {"rope_parameters", "rope_scaling"}) {
      if (auto child = beside.child(name)) nested_.push_back(*std::move(child));
    }
  }
  Fields& at(std::string_view key) {
    for (Fields& fields : nested_) {
      if (fields.has(key)) return fields;
    }
    return beside_;
  }
  void check_type(std::initializer_list<std::string_view> accepted) {
    for (Fields& fields : nested_) {
      for (const std::string_view key : {"rope_type", "type"}) {
        const std::string type = fields.string(key, "default");
        if (std::find(accepted.begin(), accepted.end(), type) == accepted.end()) {
          fields.fail(key, "is " + in_quotes(type) + ", which is not supported", ErrorCode::kUnsupported);
        }
      }
    }
  }
  // Errors met in the nested objects.
  void finish() {
    for (Fields& fields : nested_) beside_.merge(fields);
  }

 private:
  Fields& beside_;
  std::vector<Fields> nested_;
};

void read_rope(Fields& fields, TextConfig& text) {
  RopeFields rope(fields);
  // "mrope" is what some writers call the default type with sections.
  rope.check_type({"default", "mrope"});
  RopeParameters& out = text.rope_parameters;
  out.rope_theta = rope.at("rope_theta").number("rope_theta", out.rope_theta, Fields::kPositive, kMaxTheta);
  out.partial_rotary_factor =
      rope.at("partial_rotary_factor").number("partial_rotary_factor", out.partial_rotary_factor, Fields::kPositive, 1);
  Fields& with_section = rope.at("mrope_section");
  if (with_section.has("mrope_section")) {
    const std::vector<int64_t> section = with_section.integers("mrope_section", 0, kMaxWidth, 3);
    require(with_section, "mrope_section", section.size() == 3, "must hold three integers");
    if (section.size() == 3) std::copy(section.begin(), section.end(), out.mrope_section.begin());
  }
  const int64_t dim = text.rotary_dim();
  require(rope.at("partial_rotary_factor"), "partial_rotary_factor", dim >= 2 && dim % 2 == 0,
          "makes " + std::to_string(dim) + " of head_dim " + std::to_string(text.head_dim) +
              " rotate; that must be even and at least 2");
  const auto& section = out.mrope_section;
  const int64_t sum = std::accumulate(section.begin(), section.end(), int64_t{0});
  require(with_section, "mrope_section", sum == dim / 2,
          "adds up to " + std::to_string(sum) + ", must be half of the rotary dimension, " + std::to_string(dim / 2));
  rope.finish();
}

TextConfig read_text(Fields& fields) {
  check_sub_type(fields, {"glm4v_text", "glm4v"});
  check_activation(fields);
  TextConfig text;
  text.vocab_size = fields.integer("vocab_size", text.vocab_size, 1, kMaxVocab);
  text.hidden_size = fields.integer("hidden_size", text.hidden_size, 1, kMaxWidth);
  text.num_hidden_layers = fields.integer("num_hidden_layers", text.num_hidden_layers, 1, kMaxLayers);
  text.num_attention_heads = fields.integer("num_attention_heads", text.num_attention_heads, 1, kMaxHeads);
  // A null, as opposed to a missing, number of KV heads would mean one for each head; no checkpoint has it.
  text.num_key_value_heads = fields.integer("num_key_value_heads", text.num_key_value_heads, 1, kMaxHeads);
  require(fields, "num_key_value_heads", text.num_attention_heads % text.num_key_value_heads == 0,
          "is " + std::to_string(text.num_key_value_heads) + ", must divide num_attention_heads " +
              std::to_string(text.num_attention_heads));
  if (!fields.has("head_dim")) {
    require(fields, "num_attention_heads", text.hidden_size % text.num_attention_heads == 0,
            "is " + std::to_string(text.num_attention_heads) + ", must divide hidden_size " +
                std::to_string(text.hidden_size) + " as there is no head_dim");
  }
  text.head_dim =
      fields.integer("head_dim", std::max<int64_t>(text.hidden_size / text.num_attention_heads, 1), 1, kMaxWidth);
  require(fields, "head_dim", text.q_size() <= kMaxWidth,
          "times num_attention_heads is " + std::to_string(text.q_size()) + ", must be at most " +
              std::to_string(kMaxWidth));
  text.intermediate_size = fields.integer("intermediate_size", text.intermediate_size, 1, 4 * kMaxWidth);
  text.rms_norm_eps = fields.number("rms_norm_eps", text.rms_norm_eps, Fields::kPositive, 1);
  text.max_position_embeddings =
      fields.integer("max_position_embeddings", text.max_position_embeddings, 1, kMaxPositions);
  text.attention_bias = fields.boolean("attention_bias", text.attention_bias);
  text.tie_word_embeddings = fields.boolean("tie_word_embeddings", text.tie_word_embeddings);
  text.num_nextn_predict_layers = fields.integer("num_nextn_predict_layers", 0, 0, kMaxLayers);
  text.pad_token_id = fields.optional_integer("pad_token_id", 0, kMaxTokenId);
  read_rope(fields, text);
  return text;
}

VisionConfig read_vision(Fields& fields, const TextConfig& text) {
  // Older writers reuse the parent's type for the tower.
  check_sub_type(fields, {"glm4v_vision", "glm4v"});
  check_activation(fields);
  VisionConfig vision;
  vision.depth = fields.integer("depth", vision.depth, 1, kMaxLayers);
  vision.hidden_size = fields.integer("hidden_size", vision.hidden_size, 1, kMaxWidth);
  const std::string_view heads_key = fields.has("num_heads") ? "num_heads" : "num_attention_heads";
  vision.num_heads = fields.integer(heads_key, vision.num_heads, 1, kMaxHeads);
  if (fields.has("num_heads")) {
    const int64_t other = fields.integer("num_attention_heads", vision.num_heads, 1, kMaxHeads);
    require(fields, "num_attention_heads", other == vision.num_heads,
            "is " + std::to_string(other) + ", but num_heads is " + std::to_string(vision.num_heads));
  }
  require(fields, heads_key, vision.hidden_size % (4 * vision.num_heads) == 0,
          "is " + std::to_string(vision.num_heads) + "; hidden_size " + std::to_string(vision.hidden_size) +
              " must divide into heads whose size is a multiple of 4");
  vision.patch_size = fields.integer("patch_size", vision.patch_size, 1, 256);
  vision.temporal_patch_size = fields.integer("temporal_patch_size", vision.temporal_patch_size, 1, 16);
  vision.spatial_merge_size = fields.integer("spatial_merge_size", vision.spatial_merge_size, 1, 16);
  vision.in_channels = fields.integer("in_channels", vision.in_channels, 1, 4);
  if (vision.in_channels != 3) {
    fields.fail("in_channels", "is " + std::to_string(vision.in_channels) + ", only 3 (RGB) is supported",
                ErrorCode::kUnsupported);
  }
  vision.image_size = fields.integer("image_size", vision.image_size, 1, 16384);
  require(
      fields, "image_size", vision.image_size >= vision.patch_size,
      "is " + std::to_string(vision.image_size) + ", must be at least patch_size " + std::to_string(vision.patch_size));
  vision.out_hidden_size = fields.integer("out_hidden_size", vision.out_hidden_size, 1, kMaxWidth);
  require(fields, "out_hidden_size", vision.out_hidden_size == text.hidden_size,
          "is " + std::to_string(vision.out_hidden_size) + ", must be the text's hidden_size " +
              std::to_string(text.hidden_size));
  vision.intermediate_size = fields.integer("intermediate_size", vision.intermediate_size, 1, 4 * kMaxWidth);
  vision.rms_norm_eps = fields.number("rms_norm_eps", vision.rms_norm_eps, Fields::kPositive, 1);
  vision.attention_bias = fields.boolean("attention_bias", vision.attention_bias);
  RopeFields rope(fields);
  rope.check_type({"default", "axial"});
  vision.rope_theta = rope.at("rope_theta").number("rope_theta", vision.rope_theta, Fields::kPositive, kMaxTheta);
  rope.finish();
  return vision;
}

std::optional<DType> read_dtype(Fields& fields) {
  const std::string_view key = fields.has("dtype") ? "dtype" : "torch_dtype";
  std::string name = fields.string(key, "");
  if (name.empty() || name == "auto") return std::nullopt;
  if (name.starts_with("torch.")) name.erase(0, 6);
  if (name == "bfloat16") return DType::kBF16;
  if (name == "float16" || name == "half") return DType::kF16;
  if (name == "float32" || name == "float") return DType::kF32;
  fields.fail(key, "is " + in_quotes(name) + ", must be bfloat16, float16 or float32", ErrorCode::kUnsupported);
  return std::nullopt;
}

// A token id stands at the top level; some writers keep a copy in text_config.
int64_t read_token_id(Fields& root, Fields& text, std::string_view key, int64_t fallback, int64_t vocab_size) {
  Fields& fields = !root.has(key) && text.has(key) ? text : root;
  const int64_t id = fields.integer(key, fallback, 0, kMaxTokenId);
  require(fields, key, id < vocab_size,
          "is " + std::to_string(id) + (fields.has(key) ? "" : " by default") + ", must be below vocab_size " +
              std::to_string(vocab_size));
  return id;
}

}  // namespace

int64_t TextConfig::rotary_dim() const {
  return static_cast<int64_t>(static_cast<double>(head_dim) * rope_parameters.partial_rotary_factor);
}

Result<ModelConfig> parse_model_config(const json::object& object) {
  Fields root(object, "");
  RETURN_IF_ERROR(check_model_type(root));
  auto quantization = read_quantization(root, object);
  auto vision = root.child("vision_config");
  if (!vision) {
    root.fail("vision_config", "is missing");
    return root.status().error();
  }
  auto nested = root.child("text_config");
  RETURN_IF_ERROR(root.status());
  Fields& text = nested ? *nested : root;  // flat: the text's fields stand at the top
  if (nested && !quantization) quantization = read_quantization(text, object.at("text_config").get_object());

  ModelConfig config;
  config.quantization = quantization;
  config.text = read_text(text);
  RETURN_IF_ERROR(text.status());
  config.vision = read_vision(*vision, config.text);
  RETURN_IF_ERROR(vision->status());

  // transformers ties when either says so.
  config.text.tie_word_embeddings |= root.boolean("tie_word_embeddings", false);
  config.dtype = read_dtype(root.has("dtype") || root.has("torch_dtype") ? root : text);
  const auto id = [&](std::string_view key, int64_t fallback) {
    return read_token_id(root, text, key, fallback, config.text.vocab_size);
  };
  config.image_token_id = id("image_token_id", config.image_token_id);
  config.image_start_token_id = id("image_start_token_id", config.image_start_token_id);
  config.image_end_token_id = id("image_end_token_id", config.image_end_token_id);
  config.video_token_id = id("video_token_id", config.video_token_id);
  config.video_start_token_id = id("video_start_token_id", config.video_start_token_id);
  config.video_end_token_id = id("video_end_token_id", config.video_end_token_id);
  if (!config.text.pad_token_id) config.text.pad_token_id = root.optional_integer("pad_token_id", 0, kMaxTokenId);
  config.eos_token_id = (root.has("eos_token_id") ? root : text).integers("eos_token_id", 0, kMaxTokenId, kMaxEosIds);
  RETURN_IF_ERROR(root.status());
  RETURN_IF_ERROR(text.status());
  return config;
}

Result<ModelConfig> parse_model_config(std::string_view text, std::string_view path) {
  ASSIGN_OR_RETURN(const json::object object, parse_config_object(text, path));
  auto config = parse_model_config(object);
  if (!config) return std::move(config).error().in(path);
  return config;
}

}  // namespace glimpse
