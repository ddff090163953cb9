#pragma once

// What a client is told when a request cannot be answered: HTTP status and OpenAI's error body.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/json.h"
#include "base/result.h"

namespace glimpse {

struct ApiError {
  int status = 400;
  std::string type = "invalid_request_error";
  std::string code;     // OpenAI's name for it; empty: the body has the status as a number
  std::string param;    // the field at fault ("messages[0].content[1]"); empty: null
  std::string message;  // one sentence for the client; no addresses, paths or other clients' data
  std::optional<double> retry_after_s;
};

// A value or an ApiError; member names as Result's, so ASSIGN_OR_RETURN works on it.
template <typename T>
class [[nodiscard]] ApiResult {
 public:
  ApiResult(T value) : state_(std::in_place_index<0>, std::move(value)) {}         // NOLINT: implicit by design
  ApiResult(ApiError error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& operator*() & { return std::get<0>(state_); }
  const T& operator*() const& { return std::get<0>(state_); }
  T&& operator*() && { return std::get<0>(std::move(state_)); }
  T* operator->() { return &std::get<0>(state_); }
  const T* operator->() const { return &std::get<0>(state_); }
  ApiError& error() & { return std::get<1>(state_); }
  const ApiError& error() const& { return std::get<1>(state_); }
  ApiError&& error() && { return std::get<1>(std::move(state_)); }

 private:
  std::variant<T, ApiError> state_;
};

// Success without a value: `return kApiOk;`.
using ApiStatus = ApiResult<std::monostate>;
inline constexpr std::monostate kApiOk{};

// The one mapping from the program's errors (api-conventions: never 5xx for bad input, because clients send those
// again). kResource becomes 500 with a general sentence: its message is for the log, not for the client.
ApiError to_api_error(const Error& error, std::string_view param = {});

ApiError invalid_request(std::string_view param, std::string message);
ApiError not_supported(std::string_view param, std::string message);  // 400, code unsupported_parameter
ApiError model_not_found(std::string_view name);                      // 404
ApiError invalid_image(std::string_view param, std::string message);  // 400, code invalid_image
// 400, code context_length_exceeded, in the words that client libraries look for.
ApiError context_length_exceeded(int64_t max_model_len, int64_t prompt_tokens);
ApiError unauthorized();                                          // 401
ApiError overloaded(std::string message, double retry_after_s);   // 429
ApiError unavailable(std::string message, double retry_after_s);  // 503
ApiError http_error(int status, std::string message);             // 404 route, 405, 408, 411, 413, 415, 431, 500

// {"error": {"message", "type", "param", "code"}}
std::string error_body(const ApiError& error);

}  // namespace glimpse
