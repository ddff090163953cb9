#include "api/completion_request.h"

#include "api/fields.h"
#include "api/json_writer.h"
#include "api/prompt_builder.h"

namespace glimpse {

namespace {

constexpr size_t kMaxPrompts = 128;
constexpr size_t kMaxIds = size_t{1} << 22;

ApiResult<std::vector<int32_t>> id_list(const json::array& list, std::string_view field, int64_t vocab_size) {
  if (list.size() > kMaxIds) return invalid_request(field, std::string(field) + " has too many ids");
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const json::value& value : list) {
    if (!value.is_int64() || value.get_int64() < 0 || value.get_int64() >= vocab_size) {
      return invalid_request(
          field, std::string(field) + " must hold token ids between 0 and " + std::to_string(vocab_size - 1));
    }
    ids.push_back(static_cast<int32_t>(value.get_int64()));
  }
  return ids;
}

ApiResult<TextOrIds> one_prompt(const json::value& value, int64_t vocab_size) {
  if (value.is_string()) return TextOrIds(std::string(value.get_string()));
  if (value.is_array()) {
    ASSIGN_OR_RETURN(std::vector<int32_t> ids, id_list(value.get_array(), "prompt", vocab_size));
    return TextOrIds(std::move(ids));
  }
  return invalid_request("prompt", "prompt must be a string, a list of strings, or a list of token ids");
}

}  // namespace

ApiResult<CompletionRequest> parse_completion_request(const json::value& body, const ApiModel& model) {
  if (!body.is_object()) return invalid_request("", "the request's body must be a JSON object");
  const json::object& object = body.get_object();
  CompletionRequest request;
  ASSIGN_OR_RETURN(request.generation, parse_generation_fields(object, model));
  if (find(object, "max_tokens") == nullptr && find(object, "max_completion_tokens") == nullptr) {
    request.generation.max_tokens = 16;
  }
  ASSIGN_OR_RETURN(const auto logprobs, optional_int(object, "logprobs", 0, 20));
  request.generation.sampling.logprobs = static_cast<int32_t>(logprobs.value_or(-1));
  ASSIGN_OR_RETURN(const auto echo, optional_bool(object, "echo"));
  request.echo = echo.value_or(false);
  if (request.echo && logprobs) return not_supported("echo", "echo together with logprobs is not supported");

  const json::value* prompt = find(object, "prompt");
  if (prompt == nullptr) return invalid_request("prompt", "prompt is missing");
  const bool is_list = prompt->is_array() && !prompt->get_array().empty() && !prompt->get_array()[0].is_number();
  if (!is_list) {
    ASSIGN_OR_RETURN(TextOrIds only, one_prompt(*prompt, model.vocab_size()));
    request.prompts.push_back(std::move(only));
    return request;
  }
  const json::array& list = prompt->get_array();
  if (list.size() > kMaxPrompts) {
    return invalid_request("prompt", "there are " + std::to_string(list.size()) + " prompts, at most " +
                                         std::to_string(kMaxPrompts) + " are allowed");
  }
  for (const json::value& value : list) {
    ASSIGN_OR_RETURN(TextOrIds each, one_prompt(value, model.vocab_size()));
    request.prompts.push_back(std::move(each));
  }
  return request;
}

ApiResult<TokenizeRequest> parse_tokenize_request(json::value&& body, const ApiModel& model) {
  if (!body.is_object()) return invalid_request("", "the request's body must be a JSON object");
  const json::object& object = body.get_object();
  TokenizeRequest request;
  ASSIGN_OR_RETURN(const auto strings, optional_bool(object, "return_token_strs"));
  request.return_token_strs = strings.value_or(false);
  if (find(object, "messages") != nullptr) {
    ASSIGN_OR_RETURN(request.chat, parse_chat_request(std::move(body), model, ChatRequestKind::kTokenize));
    return request;
  }
  ASSIGN_OR_RETURN([[maybe_unused]] const std::string name, parse_model_name(object, model));
  ASSIGN_OR_RETURN(const auto prompt, optional_string(object, "prompt", Tokenizer::kMaxTextBytes));
  if (!prompt) return invalid_request("prompt", "prompt or messages is missing");
  request.prompt = *prompt;
  return request;
}

ApiResult<std::string> tokenize_response(const TokenizeRequest& request, const ApiModel& model) {
  std::vector<int32_t> ids;
  if (request.chat) {
    // One merged square per picture: the placeholder itself.
    const auto merge = static_cast<int32_t>(model.source().config.vision.spatial_merge_size);
    const std::vector<GridThw> grids(request.chat->images.size(), GridThw{1, merge, merge});
    ASSIGN_OR_RETURN(BuiltPrompt built, build_chat_prompt(*request.chat, grids, model));
    ids = std::move(built.prompt.token_ids);
  } else {
    auto encoded = model.source().tokenizer.encode(request.prompt);
    if (!encoded) return to_api_error(encoded.error(), "prompt");
    ids = *std::move(encoded);
    model.source().to_model_ids(ids);
  }
  json::object response{
      {"count", ids.size()}, {"max_model_len", model.max_model_len()}, {"tokens", json::array(ids.begin(), ids.end())}};
  if (request.return_token_strs) {
    json::array strings;
    for (const int32_t id : ids) strings.emplace_back(token_text(id, model));
    response["token_strs"] = std::move(strings);
  }
  return json::serialize(response);
}

ApiResult<std::string> detokenize_response(const json::value& body, const ApiModel& model) {
  if (!body.is_object()) return invalid_request("", "the request's body must be a JSON object");
  ASSIGN_OR_RETURN([[maybe_unused]] const std::string name, parse_model_name(body.get_object(), model));
  ASSIGN_OR_RETURN(const json::array* tokens, optional_array(body.get_object(), "tokens"));
  if (tokens == nullptr) return invalid_request("tokens", "tokens is missing");
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids, id_list(*tokens, "tokens", model.vocab_size()));
  std::vector<int32_t> known;
  for (const int32_t id : ids) {
    if (const auto mapped = model.source().to_tokenizer_id(id)) known.push_back(*mapped);
  }
  return json::serialize(json::object{{"prompt", model.source().tokenizer.decode(known)}});
}

}  // namespace glimpse
