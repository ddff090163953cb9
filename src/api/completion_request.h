#pragma once

// POST /v1/completions, /tokenize and /detokenize: bodies that bring text or token ids instead of a conversation.

#include <string>
#include <variant>
#include <vector>

#include "api/chat_request.h"

namespace glimpse {

using TextOrIds = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  GenerationFields generation;     // max_tokens is 16 where the body has none; sampling.logprobs from "logprobs"
  std::vector<TextOrIds> prompts;  // at least one; choice i of prompt p has index p * n + i
  bool echo = false;
};
ApiResult<CompletionRequest> parse_completion_request(const json::value& body, const ApiModel& model);

// A conversation (its pictures are not fetched: placeholders count as one token) or a text.
struct TokenizeRequest {
  std::optional<ChatRequest> chat;
  std::string prompt;
  bool return_token_strs = false;
};
ApiResult<TokenizeRequest> parse_tokenize_request(json::value&& body, const ApiModel& model);
// The response: {count, max_model_len, tokens, token_strs}.
ApiResult<std::string> tokenize_response(const TokenizeRequest& request, const ApiModel& model);

// {tokens: […]} → {"prompt": "…"}. Errors: 400 for ids outside the vocabulary.
ApiResult<std::string> detokenize_response(const json::value& body, const ApiModel& model);

}  // namespace glimpse
