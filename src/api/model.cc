#include "api/model.h"

#include <algorithm>
#include <cctype>

namespace glimpse {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

constexpr std::array<std::string_view, 12> kStructural = {
    "<think>",   "</think>",   "<answer>",    "</answer>",    "<tool_call>",      "</tool_call>",
    "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "<|begin_of_box|>", "<|end_of_box|>"};

}  // namespace

ApiModel::ApiModel(const ModelSource& source, ApiModelOptions options)
    : source_(source), options_(std::move(options)), grammars_(std::make_unique<GrammarCache>()) {
  if (options_.served_names.empty()) options_.served_names.push_back(source.label);
  if (options_.use_generation_config) {
    const GenerationConfig& config = source.generation;
    if (config.temperature) default_sampling_.temperature = static_cast<float>(*config.temperature);
    if (config.top_p) default_sampling_.top_p = static_cast<float>(*config.top_p);
    if (config.min_p) default_sampling_.min_p = static_cast<float>(*config.min_p);
    if (config.top_k) default_sampling_.top_k = static_cast<int32_t>(std::clamp<int64_t>(*config.top_k, 0, 1 << 30));
    if (config.repetition_penalty) {
      default_sampling_.repetition_penalty = static_cast<float>(*config.repetition_penalty);
    }
    if (config.do_sample == false) default_sampling_.temperature = 0;
    if (config.max_new_tokens) {
      default_max_tokens_ = static_cast<int32_t>(std::clamp<int64_t>(*config.max_new_tokens, 1, INT32_MAX));
    }
  }
  const auto is_phone = [](std::string_view name) { return lower(name).find("autoglm-phone") != std::string::npos; };
  const bool phone =
      is_phone(source.label) || std::any_of(options_.served_names.begin(), options_.served_names.end(), is_phone);
  reasoning_ = options_.reasoning.value_or(phone ? ReasoningFormat::kInline : ReasoningFormat::kSplit);
  think_id_ = source.tokenizer.find_token("<think>").value_or(-1);
  end_think_id_ = source.tokenizer.find_token("</think>").value_or(-1);
  for (const std::string_view token : kStructural) {
    if (const auto id = source.tokenizer.find_token(token)) structural_ids_.push_back(*id);
  }
  std::sort(structural_ids_.begin(), structural_ids_.end());
}

bool ApiModel::serves(std::string_view name) const {
  return name.empty() ||
         std::find(options_.served_names.begin(), options_.served_names.end(), name) != options_.served_names.end();
}

bool ApiModel::is_structural(int32_t tokenizer_id) const {
  return std::binary_search(structural_ids_.begin(), structural_ids_.end(), tokenizer_id);
}

std::string_view ApiModel::token_bytes(int32_t model_id) const {
  const auto id = source_.to_tokenizer_id(model_id);
  return id ? source_.tokenizer.token_bytes(*id) : std::string_view();
}

const std::shared_ptr<const Vocabulary>& ApiModel::vocabulary() const {
  std::call_once(vocabulary_once_, [this] {
    std::vector<std::string_view> tokens(static_cast<size_t>(vocab_size()));
    for (size_t i = 0; i < tokens.size(); ++i) {
      const auto id = source_.to_tokenizer_id(static_cast<int32_t>(i));
      if (!id) continue;
      if (source_.tokenizer.is_special(*id) && !is_structural(*id)) continue;
      tokens[i] = source_.tokenizer.token_bytes(*id);
    }
    vocabulary_ = Vocabulary::make(tokens);
  });
  return vocabulary_;
}

}  // namespace glimpse
