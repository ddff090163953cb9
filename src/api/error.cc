#include "api/error.h"

#include "base/quote.h"

namespace glimpse {

namespace {

ApiError make(int status, std::string_view type, std::string_view code, std::string_view param, std::string message) {
  return {.status = status,
          .type = std::string(type),
          .code = std::string(code),
          .param = std::string(param),
          .message = std::move(message)};
}

}  // namespace

ApiError to_api_error(const Error& error, std::string_view param) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kInvalidData:
    case ErrorCode::kTooLarge:
      return invalid_request(param, error.message);
    case ErrorCode::kUnsupported:
      return not_supported(param, error.message);
    case ErrorCode::kNotFound:
      return make(404, "invalid_request_error", "not_found", param, error.message);
    case ErrorCode::kOverloaded:
      return overloaded("the server is busy: " + error.message, 1);
    case ErrorCode::kCancelled:
      return make(499, "api_error", "cancelled", param, "the request was cancelled");
    case ErrorCode::kResource:
      return http_error(500, "the server failed to answer this request");
  }
  return http_error(500, "the server failed to answer this request");
}

ApiError invalid_request(std::string_view param, std::string message) {
  return make(400, "invalid_request_error", "", param, std::move(message));
}

ApiError not_supported(std::string_view param, std::string message) {
  return make(400, "invalid_request_error", "unsupported_parameter", param, std::move(message));
}

ApiError model_not_found(std::string_view name) {
  return make(404, "invalid_request_error", "model_not_found", "model",
              "The model " + in_quotes(name) + " does not exist here; GET /v1/models lists those that do.");
}

ApiError invalid_image(std::string_view param, std::string message) {
  return make(400, "invalid_request_error", "invalid_image", param, std::move(message));
}

ApiError context_length_exceeded(int64_t max_model_len, int64_t prompt_tokens) {
  return make(400, "invalid_request_error", "context_length_exceeded", "messages",
              "This model's maximum context length is " + std::to_string(max_model_len) +
                  " tokens. However, your messages resulted in " + std::to_string(prompt_tokens) +
                  " tokens. Please reduce the length of the messages.");
}

ApiError unauthorized() {
  return make(401, "authentication_error", "invalid_api_key", "",
              "Missing or wrong API key. Send it as \"Authorization: Bearer KEY\".");
}

ApiError overloaded(std::string message, double retry_after_s) {
  ApiError error = make(429, "rate_limit_error", "overloaded", "", std::move(message));
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError unavailable(std::string message, double retry_after_s) {
  ApiError error = make(503, "service_unavailable_error", "unavailable", "", std::move(message));
  error.retry_after_s = retry_after_s;
  return error;
}

ApiError http_error(int status, std::string message) {
  return make(status, status >= 500 ? "api_error" : "invalid_request_error", "", "", std::move(message));
}

std::string error_body(const ApiError& error) {
  json::object inner{{"message", error.message},
                     {"type", error.type},
                     {"param", error.param.empty() ? json::value(nullptr) : json::value(error.param)},
                     {"code", error.code.empty() ? json::value(error.status) : json::value(error.code)}};
  return json::serialize(json::object{{"error", std::move(inner)}});
}

}  // namespace glimpse
