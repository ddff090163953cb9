#include "sampling/params.h"

#include <fmt/format.h>

#include <cmath>

namespace glimpse {

namespace {

Error out_of_range(const char* field, double value, const char* range) {
  return {ErrorCode::kInvalidArgument, fmt::format("{} is {}; it must be {}", field, value, range)};
}

}  // namespace

Status validate(const SamplingParams& params, int64_t vocab_size) {
  const auto within = [](float value, float low, float high) {
    return value >= low && value <= high;
  };  // false for NaN
  if (!within(params.temperature, 0, 100)) return out_of_range("temperature", params.temperature, "between 0 and 100");
  if (params.top_k < -1) return out_of_range("top_k", params.top_k, "-1, 0 (all) or positive");
  if (!within(params.top_p, 0, 1) || params.top_p == 0)
    return out_of_range("top_p", params.top_p, "above 0, at most 1");
  if (!within(params.min_p, 0, 1)) return out_of_range("min_p", params.min_p, "between 0 and 1");
  if (!within(params.repetition_penalty, 0, 100) || params.repetition_penalty == 0) {
    return out_of_range("repetition_penalty", params.repetition_penalty, "above 0, at most 100");
  }
  if (!within(params.frequency_penalty, -2, 2)) {
    return out_of_range("frequency_penalty", params.frequency_penalty, "between -2 and 2");
  }
  if (!within(params.presence_penalty, -2, 2)) {
    return out_of_range("presence_penalty", params.presence_penalty, "between -2 and 2");
  }
  if (params.min_tokens < 0) return out_of_range("min_tokens", params.min_tokens, "0 or more");
  if (params.logprobs < -1 || params.logprobs > 20)
    return out_of_range("logprobs", params.logprobs, "between 0 and 20");
  if (params.stop.size() > 64)
    return out_of_range("the number of stop strings", static_cast<double>(params.stop.size()), "at most 64");
  for (const std::string& stop : params.stop) {
    if (stop.empty() || stop.size() > 1024) {
      return out_of_range("the length of a stop string", static_cast<double>(stop.size()), "between 1 and 1024 bytes");
    }
  }
  for (const int32_t id : params.stop_token_ids) {
    if (id < 0 || id >= vocab_size) return out_of_range("stop_token_ids", id, "ids of the vocabulary");
  }
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab_size) return out_of_range("logit_bias", id, "for ids of the vocabulary");
    if (!within(bias, -100, 100)) return out_of_range("logit_bias", bias, "between -100 and 100");
  }
  return {};
}

}  // namespace glimpse
