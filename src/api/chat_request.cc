#include "api/chat_request.h"

#include <array>

#include "api/fields.h"
#include "base/quote.h"

namespace glimpse {

namespace {

// Names that are the server's to set. "tokenize" and "return_dict" would be arguments of the function that transformers
// and vLLM pass these to.
constexpr std::array<std::string_view, 10> kReservedNames = {
    "messages",      "conversation", "tools",       "add_generation_prompt", "continue_final_message",
    "chat_template", "tokenize",     "return_dict", "raise_exception",       "strftime_now"};

constexpr size_t kMaxWordBytes = 64;

ApiResult<std::optional<bool>> thinking_of_effort(const json::object& body) {
  const json::value* effort = find(body, "reasoning_effort");
  if (effort == nullptr) {
    const json::value* reasoning = find(body, "reasoning");  // OpenRouter, Open WebUI
    if (reasoning != nullptr && reasoning->is_object()) {
      effort = find(reasoning->get_object(), "effort");
      const json::value* enabled = find(reasoning->get_object(), "enabled");
      if (effort == nullptr && enabled != nullptr && enabled->is_bool()) return std::optional(enabled->get_bool());
    }
  }
  if (effort == nullptr) return std::optional<bool>();
  if (effort->is_string()) {
    const std::string_view word = effort->get_string();
    for (const std::string_view known : {"none", "minimal", "low", "medium", "high", "xhigh", "max"}) {
      if (word == known) return std::optional(word != "none");
    }
  }
  return invalid_request("reasoning_effort", "reasoning_effort must be none, minimal, low, medium, high, xhigh or max");
}

// chat_template_kwargs > thinking > enable_thinking > reasoning_effort > the server's default.
ApiStatus read_thinking(const json::object& body, const ApiModel& model, ChatRequest& request) {
  request.enable_thinking = model.options().default_thinking;
  ASSIGN_OR_RETURN(const auto effort, thinking_of_effort(body));
  if (effort) request.enable_thinking = effort;
  ASSIGN_OR_RETURN(const auto flag, optional_bool(body, "enable_thinking"));
  if (flag) request.enable_thinking = flag;
  ASSIGN_OR_RETURN(const json::object* thinking, optional_object(body, "thinking"));
  if (thinking != nullptr) {
    const auto type = optional_string(*thinking, "type", kMaxWordBytes);
    if (!type) return in_field("thinking", type.error());
    const std::string word = type->value_or("auto");
    if (word != "enabled" && word != "disabled" && word != "auto") {
      return invalid_request("thinking.type", "thinking.type must be enabled or disabled, not " + in_quotes(word, 40));
    }
    if (word != "auto") request.enable_thinking = word == "enabled";
    const auto clear = optional_bool(*thinking, "clear_thinking");
    if (!clear) return in_field("thinking", clear.error());
    if (clear->has_value()) request.template_kwargs["clear_thinking"] = **clear;
  }
  ASSIGN_OR_RETURN(const json::object* kwargs, optional_object(body, "chat_template_kwargs"));
  if (kwargs == nullptr) return kApiOk;
  for (const auto& [key, value] : *kwargs) {
    const std::string_view name = key;
    for (const std::string_view reserved : kReservedNames) {
      if (name == reserved || name.ends_with("_token")) {
        return invalid_request("chat_template_kwargs", "chat_template_kwargs must not set " + in_quotes(name, 40));
      }
    }
    if (name == "enable_thinking" || name == "thinking") {
      if (!value.is_bool() && !value.is_null()) {
        return invalid_request("chat_template_kwargs",
                               "chat_template_kwargs." + std::string(name) + " must be true or false");
      }
      if (value.is_bool()) request.enable_thinking = value.get_bool();
      continue;
    }
    request.template_kwargs[key] = value;
  }
  return kApiOk;
}

ApiStatus read_reasoning_output(const json::object& body, const ApiModel& model, ChatRequest& request) {
  request.reasoning_format = model.reasoning_format();
  ASSIGN_OR_RETURN(const auto separate, optional_bool(body, "separate_reasoning"));  // SGLang
  if (separate) request.reasoning_format = *separate ? ReasoningFormat::kSplit : ReasoningFormat::kInline;
  ASSIGN_OR_RETURN(const auto format, optional_string(body, "reasoning_format", kMaxWordBytes));
  if (format) {
    if (*format == "inline" || *format == "none" || *format == "raw") {
      request.reasoning_format = ReasoningFormat::kInline;
    } else if (*format == "split" || *format == "deepseek" || *format == "parsed") {
      request.reasoning_format = ReasoningFormat::kSplit;
    } else if (*format == "hidden") {
      request.include_reasoning = false;
    } else if (*format != "auto") {
      return invalid_request("reasoning_format",
                             "reasoning_format must be inline, split or auto, not " + in_quotes(*format, 40));
    }
  }
  for (const std::string_view key : {"return_reasoning", "include_reasoning"}) {  // the second wins
    ASSIGN_OR_RETURN(const auto flag, optional_bool(body, key));
    if (flag) request.include_reasoning = *flag;
  }
  return kApiOk;
}

// "logprobs": true and "top_logprobs": n.
ApiStatus read_logprobs(const json::object& body, SamplingParams& sampling) {
  ASSIGN_OR_RETURN(const auto wanted, optional_bool(body, "logprobs"));
  ASSIGN_OR_RETURN(const auto top, optional_int(body, "top_logprobs", 0, 20));
  if (top.value_or(0) > 0 && !wanted.value_or(false)) {
    return invalid_request("top_logprobs", "top_logprobs needs logprobs to be true");
  }
  sampling.logprobs = wanted.value_or(false) ? static_cast<int32_t>(top.value_or(0)) : -1;
  return kApiOk;
}

ApiStatus read_prompt_shape(const json::object& body, const ApiModel& model, ChatRequest& request) {
  ASSIGN_OR_RETURN(const auto generate, optional_bool(body, "add_generation_prompt"));
  ASSIGN_OR_RETURN(const auto go_on, optional_bool(body, "continue_final_message"));
  ASSIGN_OR_RETURN(const auto echo, optional_bool(body, "echo"));
  request.continue_final_message = go_on.value_or(false);
  if (request.continue_final_message && generate.value_or(false)) {
    return invalid_request("continue_final_message",
                           "continue_final_message and add_generation_prompt exclude each other");
  }
  request.add_generation_prompt = generate.value_or(!request.continue_final_message);
  request.echo = echo.value_or(false) && request.continue_final_message;
  request.content_format = model.options().content_format;
  return kApiOk;
}

}  // namespace

ApiResult<json::value> parse_body(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return invalid_request("", "the request's body is empty; it must be a JSON object");
  }
  auto parsed = parse_json(text);
  if (!parsed) return invalid_request("", "the request's body is " + parsed.error().message);
  if (!parsed->is_object()) return invalid_request("", "the request's body must be a JSON object");
  return *std::move(parsed);
}

ApiResult<ChatRequest> parse_chat_request(json::value&& body, const ApiModel& model, ChatRequestKind kind) {
  if (!body.is_object()) return invalid_request("", "the request's body must be a JSON object");
  json::object& object = body.get_object();
  ChatRequest request;
  if (kind == ChatRequestKind::kChat) {
    ASSIGN_OR_RETURN(request.generation, parse_generation_fields(object, model));
    RETURN_IF_ERROR(read_logprobs(object, request.generation.sampling));
  } else {
    // A draft or a count: what concerns the answer is not looked at, it may not be typed yet either.
    json::object reduced;
    for (const std::string_view key : {"model", "cache_salt", "request_id", "priority"}) {
      if (const json::value* value = find(object, key); value != nullptr) reduced[key] = *value;
    }
    ASSIGN_OR_RETURN(request.generation, parse_generation_fields(reduced, model));
  }
  request.template_kwargs = model.options().template_kwargs;
  RETURN_IF_ERROR(read_thinking(object, model, request));
  RETURN_IF_ERROR(read_reasoning_output(object, model, request));
  RETURN_IF_ERROR(read_prompt_shape(object, model, request));
  ASSIGN_OR_RETURN(request.tools, parse_tools(object));

  json::value* messages = object.if_contains("messages");
  if (messages == nullptr || messages->is_null()) return invalid_request("messages", "messages is missing");
  ASSIGN_OR_RETURN(Conversation conversation, parse_messages(std::move(*messages), model.options().max_messages,
                                                             static_cast<size_t>(model.options().max_images)));
  request.messages = std::move(conversation.messages);
  request.images = std::move(conversation.images);
  if (request.continue_final_message && request.messages.back().at("role") == "user" &&
      kind == ChatRequestKind::kChat) {
    return invalid_request("continue_final_message",
                           "continue_final_message needs the last message to be the "
                           "assistant's");
  }
  return request;
}

}  // namespace glimpse
