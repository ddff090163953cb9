#pragma once

// What the API has to know about the model it speaks for, and the operator's choices. Made once at start, then read by
// any number of threads.

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/error.h"
#include "bundle/model_source.h"
#include "grammar/grammar_cache.h"
#include "grammar/vocabulary.h"
#include "processor/chat_template.h"
#include "sampling/params.h"

namespace glimpse {

// Where the reasoning of an answer goes.
enum class ReasoningFormat {
  kSplit,   // reasoning_content and reasoning, apart from content
  kInline,  // "<think>…</think>" stays in content (AutoGLM's client reads it there)
};

struct ApiModelOptions {
  std::vector<std::string> served_names;  // the first is shown; empty: the model's label
  int32_t max_model_len = 0;
  std::optional<bool> default_thinking;      // --default-chat-template-kwargs '{"enable_thinking": …}'
  std::optional<ReasoningFormat> reasoning;  // unset: kInline for AutoGLM-Phone, else kSplit
  ContentFormat content_format = ContentFormat::kOpenai;
  json::object template_kwargs;       // --default-chat-template-kwargs
  bool use_generation_config = true;  // --generation-config vllm: false
  int max_choices = 16;               // n
  int max_images = 32;                // --limit-mm-per-prompt
  size_t max_messages = 4096;
};

class ApiModel {
 public:
  // `source` is borrowed and outlives this.
  ApiModel(const ModelSource& source, ApiModelOptions options);

  const ModelSource& source() const { return source_; }
  const ApiModelOptions& options() const { return options_; }
  int32_t max_model_len() const { return options_.max_model_len; }
  int64_t vocab_size() const { return source_.config.text.vocab_size; }
  const std::string& name() const { return options_.served_names.front(); }
  // An absent or empty name is the first one.
  bool serves(std::string_view name) const;

  // generation_config.json's over OpenAI's.
  const SamplingParams& default_sampling() const { return default_sampling_; }
  const std::optional<int32_t>& default_max_tokens() const { return default_max_tokens_; }
  ReasoningFormat reasoning_format() const { return reasoning_; }
  // The ids of "<think>" and "</think>", -1 where the tokenizer has none.
  int32_t think_id() const { return think_id_; }
  int32_t end_think_id() const { return end_think_id_; }
  // Added tokens that are part of an answer's structure and so reach the parsers even if they are flagged special.
  bool is_structural(int32_t tokenizer_id) const;
  // The token's bytes by the model's id; empty for an id without a token.
  std::string_view token_bytes(int32_t model_id) const;

  // Tables for constrained decoding, made at the first call unless warmed before (see bench/grammar).
  const std::shared_ptr<const Vocabulary>& vocabulary() const;
  GrammarCache& grammars() const { return *grammars_; }

 private:
  const ModelSource& source_;
  ApiModelOptions options_;
  SamplingParams default_sampling_;
  std::optional<int32_t> default_max_tokens_;
  ReasoningFormat reasoning_ = ReasoningFormat::kSplit;
  int32_t think_id_ = -1;
  int32_t end_think_id_ = -1;
  std::vector<int32_t> structural_ids_;  // sorted
  mutable std::once_flag vocabulary_once_;
  mutable std::shared_ptr<const Vocabulary> vocabulary_;
  std::unique_ptr<GrammarCache> grammars_;
};

}  // namespace glimpse
