#include "model/inspect.h"

#include <algorithm>
#include <set>

#include "base/quote.h"
#include "model/fields.h"
#include "weights/checkpoint.h"
#include "weights/quantized.h"
#include "weights/safetensors.h"

namespace glimpse {

namespace {

constexpr size_t kMaxConfigBytes = 4 << 20;
constexpr size_t kMaxTokenizerBytes = 128 << 20;  // the published tokenizer.json have 20 MB

std::string_view part_of(std::string_view name) {
  if (name == "lm_head.weight") return "lm_head";
  if (name == "model.language_model.embed_tokens.weight") return "embedding";
  if (name.starts_with("model.language_model.")) return "text layers";
  if (name.starts_with("model.visual.downsample.") || name.starts_with("model.visual.merger.")) return "merger";
  return "vision tower";
}

void read_config(const FileSet& files, InspectReport& report) {
  const auto text = files.text("config.json", kMaxConfigBytes);
  if (!text) {
    report.problems.push_back(text.error().message);
    return;
  }
  auto config = parse_model_config(*text, files.path("config.json"));
  if (!config) {
    report.problems.push_back(config.error().message);
    return;
  }
  report.config = *std::move(config);
  for (const TensorSpec& spec : expected_tensors(*report.config)) {
    const std::string_view part = part_of(spec.name);
    auto found = std::find_if(report.parts.begin(), report.parts.end(),
                              [&](const ModelPart& known) { return known.name == part; });
    if (found == report.parts.end()) found = report.parts.insert(found, {std::string(part), 0});
    const int64_t elements = num_elements(spec.shape).value_or(0);
    found->parameters += elements;
    report.parameters += elements;
  }
  const TextConfig& t = report.config->text;
  report.kv_bytes_per_token = t.num_hidden_layers * 2 * t.kv_size() * 2;
}

void read_generation_config(const FileSet& files, InspectReport& report) {
  if (files.contains("generation_config.json")) {
    const auto text = files.text("generation_config.json", kMaxConfigBytes);
    if (!text) {
      report.problems.push_back(text.error().message);
      return;
    }
    auto generation = parse_generation_config(*text, files.path("generation_config.json"));
    if (!generation) {
      report.problems.push_back(generation.error().message);
      return;
    }
    report.generation = *std::move(generation);
  }
  if (!report.config) return;
  auto eos = resolve_eos(*report.config, report.generation.value_or(GenerationConfig{}));
  if (!eos) {
    report.problems.push_back(std::move(eos).error().in(files.label()).message);
    return;
  }
  report.eos_token_id = *std::move(eos);
  if (report.eos_token_id.empty()) report.notes.emplace_back("no end-of-answer token is named in any config");
}

// Only the fields that say how many tokens a picture takes; the processor reads the rest.
void read_preprocessor_config(const FileSet& files, InspectReport& report) {
  if (!report.config) return;
  const VisionConfig& vision = report.config->vision;
  constexpr int64_t kMaxPixels = int64_t{1} << 40;
  int64_t shortest = 12544;
  int64_t longest = 9633792;
  if (!files.contains("preprocessor_config.json")) {
    report.notes.emplace_back("no preprocessor_config.json: the family's defaults are used");
  } else {
    const std::string path = files.path("preprocessor_config.json");
    const auto text = files.text("preprocessor_config.json", kMaxConfigBytes);
    if (!text) {
      report.problems.push_back(text.error().message);
      return;
    }
    auto object = parse_config_object(*text, path);
    if (!object) {
      report.problems.push_back(object.error().message);
      return;
    }
    Fields fields(*object, "");
    if (auto size = fields.child("size")) {
      shortest = size->integer("shortest_edge", shortest, 1, kMaxPixels);
      longest = size->integer("longest_edge", longest, shortest, kMaxPixels);
      fields.merge(*size);
    }
    const auto same = [&](std::string_view key, int64_t expected) {
      const int64_t value = fields.integer(key, expected, 1, kMaxPixels);
      if (value != expected) {
        fields.fail(key, "is " + std::to_string(value) + ", config.json says " + std::to_string(expected));
      }
    };
    same("patch_size", vision.patch_size);
    same("temporal_patch_size", vision.temporal_patch_size);
    same("merge_size", vision.spatial_merge_size);
    if (auto status = fields.status(); !status) {
      report.problems.push_back(std::move(status).error().in(path).message);
      return;
    }
  }
  const int64_t side = vision.patch_size * vision.spatial_merge_size;
  const int64_t pixels_per_token = vision.temporal_patch_size * side * side;
  report.image_tokens = {.min_tokens = (shortest + pixels_per_token - 1) / pixels_per_token,
                         .max_tokens = std::max<int64_t>(longest / pixels_per_token, 1)};
}

// The added tokens, from tokenizer.json or, as older checkpoints have it, from tokenizer_config.json.
void read_special_tokens(const json::object& tokenizer, const json::object& tokenizer_config, InspectReport& report) {
  if (const json::value* list = find(tokenizer, "added_tokens"); list != nullptr && list->is_array()) {
    for (const json::value& item : list->get_array()) {
      if (!item.is_object()) continue;
      const auto id = get_int(item.get_object(), "id", -1);
      const auto content = get_string(item.get_object(), "content", "");
      if (id && content && *id >= 0 && !content->empty()) report.special_tokens.push_back({*content, *id});
    }
  } else if (const json::value* map = find(tokenizer_config, "added_tokens_decoder");
             map != nullptr && map->is_object()) {
    for (const auto& [key, item] : map->get_object()) {
      if (!item.is_object() || key.empty() || key.size() > 9) continue;
      if (!std::all_of(key.begin(), key.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
      const auto content = get_string(item.get_object(), "content", "");
      if (content && !content->empty()) report.special_tokens.push_back({*content, std::stoll(std::string(key))});
    }
  }
  std::stable_sort(report.special_tokens.begin(), report.special_tokens.end(),
                   [](const SpecialToken& a, const SpecialToken& b) { return a.id < b.id; });
}

// Ids are resolved by string when a prompt is made; a config that disagrees is worth knowing.
void compare_ids(InspectReport& report) {
  if (!report.config || report.special_tokens.empty()) return;
  const ModelConfig& config = *report.config;
  const std::pair<const char*, int64_t> wanted[] = {{"<|image|>", config.image_token_id},
                                                    {"<|begin_of_image|>", config.image_start_token_id},
                                                    {"<|end_of_image|>", config.image_end_token_id}};
  for (const auto& [content, id] : wanted) {
    const auto found = std::find_if(report.special_tokens.begin(), report.special_tokens.end(),
                                    [&](const SpecialToken& token) { return token.content == content; });
    if (found == report.special_tokens.end()) {
      report.notes.push_back(std::string("the tokenizer has no ") + content);
    } else if (found->id != id) {
      report.notes.push_back(std::string(content) + " is " + std::to_string(found->id) + " in the tokenizer, " +
                             std::to_string(id) + " in config.json");
    }
  }
}

json::object read_object(const FileSet& files, std::string_view name, size_t max_bytes, InspectReport& report) {
  if (!files.contains(name)) return {};
  const auto text = files.text(name, max_bytes);
  if (!text) {
    report.problems.push_back(text.error().message);
    return {};
  }
  auto object = parse_config_object(*text, files.path(name));
  if (!object) {
    report.problems.push_back(object.error().message);
    return {};
  }
  return *std::move(object);
}

void read_tokenizer(const FileSet& files, InspectReport& report) {
  report.has_tokenizer = files.contains("tokenizer.json");
  const json::object tokenizer = read_object(files, "tokenizer.json", kMaxTokenizerBytes, report);
  const json::object config = read_object(files, "tokenizer_config.json", kMaxConfigBytes, report);
  if (files.contains("chat_template.jinja")) {
    report.chat_template = "chat_template.jinja";
  } else if (find(config, "chat_template") != nullptr) {
    report.chat_template = "tokenizer_config.json";
  } else if (files.contains("chat_template.json")) {
    report.chat_template = "chat_template.json";
  }
  read_special_tokens(tokenizer, config, report);
  compare_ids(report);
}

void read_weights(const FileSet& files, InspectReport& report) {
  report.has_weights = Checkpoint::has_weights(files);
  if (!report.has_weights) {
    report.notes.emplace_back("no weights: loads with --load-format dummy only");
    return;
  }
  auto opened = Checkpoint::open(files);
  if (!opened) {
    report.problems.push_back(opened.error().message);
    return;
  }
  const auto checkpoint = std::make_shared<const Checkpoint>(std::move(*opened));
  std::set<std::string> file_names;
  for (const TensorInfo& info : checkpoint->tensors()) {
    file_names.insert(info.file);
    report.bytes_by_dtype[std::string(dtype_name(info.dtype))] +=
        num_elements(info.shape).value_or(0) * static_cast<int64_t>(dtype_bytes(info.dtype));
  }
  report.num_tensors = static_cast<int64_t>(checkpoint->tensors().size());
  report.weight_files.assign(file_names.begin(), file_names.end());
  if (!report.config) return;
  report.account = account_tensors(*report.config, *checkpoint);
  if (report.config->quantization) {
    // What the layers mean is accounted for, not how they are stored.
    const auto source = QuantizedSource::create(checkpoint, *report.config->quantization);
    if (!source) {
      report.problems.push_back(source.error().message);
      return;
    }
    report.quantization = (*source)->summary();
    report.account = account_tensors(*report.config, **source);
  }
  if (auto status = require_complete(report.account, files.label()); !status) {
    report.problems.push_back(std::move(status).error().message);
  }
  if (!report.has_tokenizer) report.problems.push_back(files.path("tokenizer.json") + ": no such file");
  if (report.chat_template.empty()) {
    report.problems.push_back(files.label() + ": no chat template in chat_template.jinja or tokenizer_config.json");
  }
}

}  // namespace

InspectReport inspect_model(const FileSet& files) {
  InspectReport report;
  report.directory = files.label();
  read_config(files, report);
  read_generation_config(files, report);
  read_preprocessor_config(files, report);
  read_tokenizer(files, report);
  read_weights(files, report);
  return report;
}

}  // namespace glimpse
