#pragma once

// The fields that chat and text completions share: how tokens are chosen, when the answer ends, what comes back.

#include <optional>
#include <string>
#include <vector>

#include "api/error.h"
#include "api/model.h"
#include "engine/request.h"
#include "grammar/constraint.h"

namespace glimpse {

struct GenerationFields {
  std::string model;                  // as the client spelled it; known
  SamplingParams sampling;            // stop strings are the server's to look for, the engine knows token ids only
  std::optional<int32_t> max_tokens;  // absent: up to the context's end
  int n = 1;
  bool stream = false;
  bool include_usage = false;  // stream_options
  bool continuous_usage_stats = false;
  bool ignore_eos = false;
  bool include_stop_str_in_output = false;
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  bool return_tokens_as_token_ids = false;  // in logprobs: "token_id:123"
  Priority priority = Priority::kInteractive;
  std::string cache_salt;                  // empty: the server's default for this client
  std::string request_id;                  // empty: the server makes one
  std::optional<Constraint> constraint;    // response_format, structured_outputs, guided_*
  std::vector<int32_t> allowed_token_ids;  // empty: all
};

// Reads them from the body. Nulls count as absent, unknown fields are ignored. Errors: 400 with the field's name; 404
// for a model that is not served.
ApiResult<GenerationFields> parse_generation_fields(const json::object& body, const ApiModel& model);

// The "model" field: the name that the client spelled, else the model's own. Errors: 400; 404 if it is not served.
ApiResult<std::string> parse_model_name(const json::object& body, const ApiModel& model);

}  // namespace glimpse
