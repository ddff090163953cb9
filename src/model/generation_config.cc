#include "model/generation_config.h"

#include "model/fields.h"

namespace glimpse {

namespace {

constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 1;
constexpr size_t kMaxEosIds = 64;

}  // namespace

Result<GenerationConfig> parse_generation_config(const json::object& root) {
  Fields fields(root, "");
  GenerationConfig config;
  config.eos_token_id = fields.integers("eos_token_id", 0, kMaxTokenId, kMaxEosIds);
  config.pad_token_id = fields.optional_integer("pad_token_id", 0, kMaxTokenId);
  if (fields.has("do_sample")) config.do_sample = fields.boolean("do_sample", false);
  config.temperature = fields.optional_number("temperature", 0, 100);
  config.top_p = fields.optional_number("top_p", 0, 1);
  config.min_p = fields.optional_number("min_p", 0, 1);
  config.top_k = fields.optional_integer("top_k", 0, kMaxTokenId);
  config.repetition_penalty = fields.optional_number("repetition_penalty", Fields::kPositive, 100);
  config.max_new_tokens = fields.optional_integer("max_new_tokens", 0, int64_t{1} << 30);
  RETURN_IF_ERROR(fields.status());
  return config;
}

Result<GenerationConfig> parse_generation_config(std::string_view text, std::string_view path) {
  ASSIGN_OR_RETURN(const json::object object, parse_config_object(text, path));
  auto config = parse_generation_config(object);
  if (!config) return std::move(config).error().in(path);
  return config;
}

Result<std::vector<int64_t>> resolve_eos(const ModelConfig& model, const GenerationConfig& generation) {
  const std::vector<int64_t>& ids = generation.eos_token_id.empty() ? model.eos_token_id : generation.eos_token_id;
  for (const int64_t id : ids) {
    if (id >= model.text.vocab_size) {
      return Error{ErrorCode::kInvalidData, "field \"eos_token_id\" holds " + std::to_string(id) +
                                                ", must be below vocab_size " + std::to_string(model.text.vocab_size)};
    }
  }
  return ids;
}

}  // namespace glimpse
