#pragma once

// POST /v1/chat/completions, /v1/chat/drafts and the messages form of /tokenize: the body, read and checked.

#include <optional>
#include <string>
#include <vector>

#include "api/content.h"
#include "api/generation_fields.h"
#include "api/tools.h"

namespace glimpse {

struct ChatRequest {
  GenerationFields generation;
  json::array messages;             // as Conversation's
  std::vector<ImageSource> images;  // in the order of the conversation
  ToolSet tools;
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the last message is open: the answer goes on where it ends
  bool echo = false;                    // with continue_final_message: give the opened text back too
  std::optional<bool> enable_thinking;  // after all precedences; unset: the template decides
  ReasoningFormat reasoning_format = ReasoningFormat::kSplit;
  bool include_reasoning = true;  // false: think, but keep it from the client
  ContentFormat content_format = ContentFormat::kOpenai;
  json::object template_kwargs;
};

// kDraft: a chat body whose last message is still being typed; max_tokens and the like are ignored.
enum class ChatRequestKind { kChat, kDraft, kTokenize };

// Takes the body apart; picture data is moved, not copied. Errors: 400 with the field's name, 404 for the model.
ApiResult<ChatRequest> parse_chat_request(json::value&& body, const ApiModel& model,
                                          ChatRequestKind kind = ChatRequestKind::kChat);

// JSON text to a value, depth at most 64. Errors: 400; an empty body has its own sentence.
ApiResult<json::value> parse_body(std::string_view text);

}  // namespace glimpse
