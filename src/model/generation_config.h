#pragma once

// What generation_config.json says: when to stop, and how to sample when a request does not say.

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "model/config.h"

namespace glimpse {

// Absent fields are std::nullopt: the request's defaults decide.
struct GenerationConfig {
  std::vector<int64_t> eos_token_id;
  std::optional<int64_t> pad_token_id;
  std::optional<bool> do_sample;
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<double> min_p;
  std::optional<int64_t> top_k;
  std::optional<double> repetition_penalty;
  std::optional<int64_t> max_new_tokens;

  bool operator==(const GenerationConfig&) const = default;
};

// Errors: kInvalidData naming the field.
Result<GenerationConfig> parse_generation_config(const json::object& root);
Result<GenerationConfig> parse_generation_config(std::string_view text, std::string_view path);

// The ids that end an answer: generation_config.json's, else config.json's (its top level, else text_config).
// Errors: kInvalidData when one is not below vocab_size. Empty when neither file names one.
Result<std::vector<int64_t>> resolve_eos(const ModelConfig& model, const GenerationConfig& generation);

}  // namespace glimpse
