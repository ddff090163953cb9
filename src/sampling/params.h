#pragma once

// How a request wants its tokens chosen. Names, ranges and defaults are those of the OpenAI API and vLLM.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"

namespace glimpse {

struct SamplingParams {
  float temperature = 1.0f;  // 0: greedy
  int32_t top_k = 0;         // 0 or -1: all
  float top_p = 1.0f;
  float min_p = 0.0f;
  float repetition_penalty = 1.0f;  // over prompt and answer
  float frequency_penalty = 0.0f;   // over the answer
  float presence_penalty = 0.0f;
  std::optional<uint64_t> seed;                       // none: a random one
  std::vector<std::pair<int32_t, float>> logit_bias;  // token id, added to its logit
  std::vector<std::string> stop;                      // the answer ends before the first of these
  std::vector<int32_t> stop_token_ids;
  int32_t min_tokens = 0;  // stop tokens are masked until the answer has that many
  int32_t logprobs = -1;   // -1: none; n: log-probabilities of the chosen and of the n likeliest tokens
};

// Errors: kInvalidArgument naming the field, its value and its range.
Status validate(const SamplingParams& params, int64_t vocab_size);

}  // namespace glimpse
