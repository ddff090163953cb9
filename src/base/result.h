#pragma once

// Result<T>: a value, or what went wrong and whose fault it is. Stands in for std::expected, which g++ 12 does not
// have; the member names are the standard's.

#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace glimpse {

// Whose fault an error is decides where it goes: exit code and HTTP status are derived from it in one place each.
enum class ErrorCode {
  kInvalidArgument,  // a request's or command line's fault                          exit 2
  kInvalidData,      // an input file's fault: checkpoint, image, template           exit 2
  kNotFound,         // a named file, model or id does not exist                     exit 2
  kUnsupported,      // well-formed, but something this program does not do          exit 2
  kTooLarge,         // over a stated bound                                          exit 2
  kResource,         // the machine's fault: memory, disk, device                    exit 1
  kCancelled,        // the caller gave up                                           exit 1
  kOverloaded,       // a queue is full or the program is stopping: try again later  exit 1
};

struct Error {
  ErrorCode code = ErrorCode::kInvalidArgument;
  std::string message;  // one line: the file, the field, the reason, with the numbers in it

  // The same error, its message prefixed with where it happened: "model.safetensors: header is 3 bytes long".
  Error in(std::string_view where) && {
    message = std::string(where) + ": " + message;
    return std::move(*this);
  }
};

// 2 for what the user handed over, 1 for the machine.
inline int exit_code(ErrorCode code) {
  return code == ErrorCode::kResource || code == ErrorCode::kCancelled || code == ErrorCode::kOverloaded ? 1 : 2;
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }
  T value_or(T other) && { return has_value() ? std::move(*this).value() : std::move(other); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), has_value_(false) {}  // NOLINT: implicit by design

  bool has_value() const { return has_value_; }
  explicit operator bool() const { return has_value_; }
  Error& error() & { return error_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool has_value_ = true;
};

using Status = Result<void>;

// RETURN_IF_ERROR(status_expression): leaves the function with the error, if there is one.
#define GLIMPSE_CONCAT_(a, b) a##b
#define GLIMPSE_CONCAT(a, b) GLIMPSE_CONCAT_(a, b)
#define RETURN_IF_ERROR(expression)                                               \
  do {                                                                            \
    if (auto status_ = (expression); !status_) return std::move(status_).error(); \
  } while (false)

// ASSIGN_OR_RETURN(auto x, result_expression): declares x with the value, or leaves with the error.
#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_(GLIMPSE_CONCAT(result_, __LINE__), declaration, expression)
#define ASSIGN_OR_RETURN_(temporary, declaration, expression) \
  auto temporary = (expression);                              \
  if (!temporary) return std::move(temporary).error();        \
  declaration = *std::move(temporary)

}  // namespace glimpse
