#pragma once

// The built-in model behind the API, and short ways to feed it.

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "api/chat_request.h"
#include "api/prompt_builder.h"
#include "api/responder.h"
#include "bundle/model_source.h"

namespace glimpse {

inline const ModelSource& mini_source() {
  static const auto source = open_model("", LoadFormat::kAuto);
  EXPECT_TRUE(source) << source.error().message;
  return *source;
}

inline ApiModelOptions mini_options() {
  ApiModelOptions options;
  options.served_names = {"glimpse-mini", "other-name"};
  options.max_model_len = 2048;
  return options;
}

inline const ApiModel& mini_model() {
  static const ApiModel model(mini_source(), mini_options());
  return model;
}

inline ApiResult<ChatRequest> parse_chat(std::string_view body, const ApiModel& model = mini_model(),
                                         ChatRequestKind kind = ChatRequestKind::kChat) {
  auto parsed = parse_body(body);
  if (!parsed) return parsed.error();
  return parse_chat_request(*std::move(parsed), model, kind);
}

// A body with one question and more fields: {"messages": […], FIELDS}.
inline std::string asking(std::string_view fields) {
  return R"({"messages":[{"role":"user","content":"Hi"}])" + (fields.empty() ? "" : "," + std::string(fields)) + "}";
}

inline ChatRequest good_chat(std::string_view body) {
  auto request = parse_chat(body);
  EXPECT_TRUE(request) << body << ": " << request.error().message;
  return *std::move(request);
}

// The text that a prompt's ids spell, pictures' tokens included.
inline std::string spelled(const Prompt& prompt, const ModelSource& source = mini_source()) {
  return source.tokenizer.decode(prompt.token_ids);
}

}  // namespace glimpse
