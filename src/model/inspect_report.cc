// The two faces of an InspectReport.

#include <algorithm>
#include <cstdio>

#include "base/quote.h"
#include "model/inspect.h"
#include "weights/safetensors.h"

namespace glimpse {

namespace {

// "10,292,777,472"
std::string grouped(int64_t number) {
  std::string digits = std::to_string(number);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), 1, ',');
  }
  return digits;
}

std::string decimal(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// One "  label   value" line.
void line(std::string& out, std::string_view label, const std::string& value) {
  out += "  ";
  out += label;
  out.append(label.size() < 16 ? 16 - label.size() : 1, ' ');
  out += value;
  out += '\n';
}

std::string join(const std::vector<int64_t>& numbers) {
  std::string text;
  for (const int64_t number : numbers) {
    if (!text.empty()) text += ' ';
    text += std::to_string(number);
  }
  return text;
}

void add_config(std::string& out, const ModelConfig& config) {
  const TextConfig& t = config.text;
  const VisionConfig& v = config.vision;
  line(out, "model type", config.model_type);
  if (config.dtype) line(out, "dtype", std::string(dtype_name(*config.dtype)));
  line(out, "text",
       std::to_string(t.num_hidden_layers) + " layers, hidden " + std::to_string(t.hidden_size) + ", " +
           std::to_string(t.num_attention_heads) + "/" + std::to_string(t.num_key_value_heads) + " heads of " +
           std::to_string(t.head_dim) + ", mlp " + std::to_string(t.intermediate_size) + ", vocabulary " +
           std::to_string(t.vocab_size) + (t.tie_word_embeddings ? ", tied" : ""));
  const auto& section = t.rope_parameters.mrope_section;
  line(out, "rope",
       "theta " + decimal(t.rope_parameters.rope_theta) + ", " + std::to_string(t.rotary_dim()) + " of " +
           std::to_string(t.head_dim) + " rotate, sections " + join({section.begin(), section.end()}));
  line(out, "context", std::to_string(t.max_position_embeddings) + " tokens");
  line(out, "vision",
       std::to_string(v.depth) + " blocks, hidden " + std::to_string(v.hidden_size) + ", " +
           std::to_string(v.num_heads) + " heads of " + std::to_string(v.head_dim()) + ", patch " +
           std::to_string(v.patch_size) + ", merge " + std::to_string(v.spatial_merge_size) + ", merger inner " +
           std::to_string(v.intermediate_size));
}

void add_list(std::string& out, std::string_view title, const std::vector<std::string>& items) {
  if (items.empty()) return;
  out += "  " + std::string(title) + " (" + std::to_string(items.size()) + "):\n";
  for (const std::string& item : items) out += "    " + item + "\n";
}

// Every name stands on a line of its own: hostile ones must not make more lines.
std::vector<std::string> names_of(const std::vector<TensorSpec>& specs) {
  std::vector<std::string> names;
  names.reserve(specs.size());
  for (const TensorSpec& spec : specs) names.push_back(in_quotes(spec.name) + " " + shape_text(spec.shape));
  return names;
}

std::vector<std::string> quote_all(const std::vector<std::string>& names) {
  std::vector<std::string> quotes;
  quotes.reserve(names.size());
  for (const std::string& name : names) quotes.push_back(in_quotes(name));
  return quotes;
}

void add_weights(std::string& out, const InspectReport& report) {
  if (!report.has_weights) {
    line(out, "weights", "none");
    return;
  }
  line(out, "weights",
       std::to_string(report.num_tensors) + " tensors in " + std::to_string(report.weight_files.size()) + " files");
  for (const auto& [dtype, bytes] : report.bytes_by_dtype) line(out, "  " + dtype, grouped(bytes) + " bytes");
  if (!report.quantization.empty()) line(out, "  quantised", report.quantization);
}

template <typename List>
json::array strings(const List& list) {
  json::array array;
  for (const auto& item : list) array.emplace_back(item);
  return array;
}

json::object config_json(const ModelConfig& config) {
  const TextConfig& t = config.text;
  const VisionConfig& v = config.vision;
  return {{"model_type", config.model_type},
          {"dtype", config.dtype ? json::value(dtype_name(*config.dtype)) : json::value(nullptr)},
          {"text_config",
           {{"vocab_size", t.vocab_size},
            {"hidden_size", t.hidden_size},
            {"num_hidden_layers", t.num_hidden_layers},
            {"num_attention_heads", t.num_attention_heads},
            {"num_key_value_heads", t.num_key_value_heads},
            {"head_dim", t.head_dim},
            {"intermediate_size", t.intermediate_size},
            {"rms_norm_eps", t.rms_norm_eps},
            {"max_position_embeddings", t.max_position_embeddings},
            {"rope_theta", t.rope_parameters.rope_theta},
            {"partial_rotary_factor", t.rope_parameters.partial_rotary_factor},
            {"mrope_section", strings(t.rope_parameters.mrope_section)},
            {"attention_bias", t.attention_bias},
            {"tie_word_embeddings", t.tie_word_embeddings}}},
          {"vision_config",
           {{"depth", v.depth},
            {"hidden_size", v.hidden_size},
            {"num_heads", v.num_heads},
            {"patch_size", v.patch_size},
            {"temporal_patch_size", v.temporal_patch_size},
            {"spatial_merge_size", v.spatial_merge_size},
            {"image_size", v.image_size},
            {"out_hidden_size", v.out_hidden_size},
            {"intermediate_size", v.intermediate_size},
            {"rms_norm_eps", v.rms_norm_eps},
            {"attention_bias", v.attention_bias}}},
          {"image_token_id", config.image_token_id},
          {"image_start_token_id", config.image_start_token_id},
          {"image_end_token_id", config.image_end_token_id}};
}

}  // namespace

std::string inspect_text(const InspectReport& report) {
  std::string out = report.directory + "\n";
  if (report.config) {
    add_config(out, *report.config);
    line(out, "parameters", grouped(report.parameters));
    for (const ModelPart& part : report.parts) line(out, "  " + part.name, grouped(part.parameters));
    line(out, "kv cache", grouped(report.kv_bytes_per_token) + " bytes per token in 16 bits");
  }
  if (report.image_tokens) {
    line(out, "picture",
         std::to_string(report.image_tokens->min_tokens) + " to " + std::to_string(report.image_tokens->max_tokens) +
             " tokens");
  }
  add_weights(out, report);
  line(out, "tokenizer", report.has_tokenizer ? "tokenizer.json" : "none");
  line(out, "chat template", report.chat_template.empty() ? "none" : report.chat_template);
  if (!report.eos_token_id.empty()) line(out, "ends at", join(report.eos_token_id));
  if (!report.special_tokens.empty()) {
    std::string tokens;
    for (const SpecialToken& token : report.special_tokens) {
      if (!tokens.empty()) tokens += ", ";
      tokens += std::to_string(token.id) + " " + in_quotes(token.content, 40);
    }
    line(out, "special tokens", tokens);
  }
  for (const std::string& note : report.notes) line(out, "note", note);
  add_list(out, "missing tensors", names_of(report.account.missing));
  add_list(out, "wrong tensors", report.account.wrong);
  add_list(out, "unexpected tensors", quote_all(report.account.unexpected));
  add_list(out, "ignored tensors", quote_all(report.account.ignored));
  for (const std::string& problem : report.problems) line(out, "problem", problem);
  if (!report.will_load()) {
    line(out, "verdict", "will not load");
  } else {
    line(out, "verdict", report.has_weights ? "will load" : "will load with --load-format dummy");
  }
  return out;
}

json::object inspect_json(const InspectReport& report) {
  json::object out;
  out["directory"] = report.directory;
  out["config"] = report.config ? json::value(config_json(*report.config)) : json::value(nullptr);
  json::object& parts = out["parameters_by_part"].emplace_object();
  for (const ModelPart& part : report.parts) parts[part.name] = part.parameters;
  out["parameters"] = report.parameters;
  out["kv_bytes_per_token"] = report.kv_bytes_per_token;
  if (report.image_tokens) {
    out["image_tokens"] = {{"min", report.image_tokens->min_tokens}, {"max", report.image_tokens->max_tokens}};
  }
  out["has_weights"] = report.has_weights;
  out["num_tensors"] = report.num_tensors;
  out["weight_files"] = strings(report.weight_files);
  if (!report.quantization.empty()) out["quantization"] = report.quantization;
  json::object& bytes = out["bytes_by_dtype"].emplace_object();
  for (const auto& [dtype, size] : report.bytes_by_dtype) bytes[dtype] = size;
  out["has_tokenizer"] = report.has_tokenizer;
  out["chat_template"] = report.chat_template.empty() ? json::value(nullptr) : json::value(report.chat_template);
  out["eos_token_id"] = strings(report.eos_token_id);
  json::object& tokens = out["special_tokens"].emplace_object();
  for (const SpecialToken& token : report.special_tokens) tokens[token.content] = token.id;
  json::array& missing = out["missing_tensors"].emplace_array();
  for (const TensorSpec& spec : report.account.missing) {
    missing.push_back({{"name", spec.name}, {"shape", strings(spec.shape)}});
  }
  out["wrong_tensors"] = strings(report.account.wrong);
  out["unexpected_tensors"] = strings(report.account.unexpected);
  out["ignored_tensors"] = strings(report.account.ignored);
  out["notes"] = strings(report.notes);
  out["problems"] = strings(report.problems);
  out["will_load"] = report.will_load();
  return out;
}

}  // namespace glimpse
