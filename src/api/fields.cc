#include "api/fields.h"

#include <cmath>

namespace glimpse {

namespace {

// "must be a string, not a number": the value itself may be megabytes of base64 and is not repeated.
std::string_view kind_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "a number";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "a list";
    case json::kind::object:
      return "an object";
  }
  return "?";
}

ApiError wrong_type(std::string_view key, std::string_view expected, const json::value& value) {
  return invalid_request(
      key, std::string(key) + " must be " + std::string(expected) + ", not " + std::string(kind_name(value)));
}

}  // namespace

ApiError in_field(std::string_view outer, ApiError error) {
  const std::string prefix = std::string(outer) + ".";
  error.param.insert(0, prefix);
  error.message.insert(0, prefix);
  return error;
}

ApiResult<std::optional<int64_t>> optional_int(const json::object& object, std::string_view key, int64_t least,
                                               int64_t most) {
  const json::value* value = find(object, key);
  if (value == nullptr) return std::optional<int64_t>();
  const auto out_of_range = [&](const std::string& shown) {
    return invalid_request(key, std::string(key) + " is " + shown + "; it must be between " + std::to_string(least) +
                                    " and " + std::to_string(most));
  };
  int64_t number = 0;
  if (value->is_int64()) {
    number = value->get_int64();
  } else if (value->is_uint64()) {
    return out_of_range(std::to_string(value->get_uint64()));
  } else if (value->is_double()) {
    const double real = value->get_double();
    if (!(std::fabs(real) < 9e15)) return out_of_range(real > 0 ? "too large" : "too small");
    if (std::floor(real) != real) return wrong_type(key, "an integer", *value);
    number = static_cast<int64_t>(real);
  } else {
    return wrong_type(key, "an integer", *value);
  }
  if (number < least || number > most) return out_of_range(std::to_string(number));
  return std::optional(number);
}

ApiResult<std::optional<double>> optional_number(const json::object& object, std::string_view key) {
  const json::value* value = find(object, key);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return wrong_type(key, "a number", *value);
  const double number = value->to_number<double>();
  if (!std::isfinite(number)) return invalid_request(key, std::string(key) + " must be a finite number");
  return std::optional(number);
}

ApiResult<std::optional<bool>> optional_bool(const json::object& object, std::string_view key) {
  const json::value* value = find(object, key);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_bool()) return wrong_type(key, "true or false", *value);
  return std::optional(value->get_bool());
}

ApiResult<std::optional<std::string>> optional_string(const json::object& object, std::string_view key,
                                                      size_t max_bytes) {
  const json::value* value = find(object, key);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  const json::string& text = value->get_string();
  if (text.size() > max_bytes) {
    return invalid_request(key, std::string(key) + " has " + std::to_string(text.size()) + " bytes, at most " +
                                    std::to_string(max_bytes) + " are allowed");
  }
  return std::optional(std::string(text));
}

ApiResult<const json::object*> optional_object(const json::object& object, std::string_view key) {
  const json::value* value = find(object, key);
  if (value == nullptr) return static_cast<const json::object*>(nullptr);
  if (!value->is_object()) return wrong_type(key, "an object", *value);
  return &value->get_object();
}

ApiResult<const json::array*> optional_array(const json::object& object, std::string_view key) {
  const json::value* value = find(object, key);
  if (value == nullptr) return static_cast<const json::array*>(nullptr);
  if (!value->is_array()) return wrong_type(key, "a list", *value);
  return &value->get_array();
}

}  // namespace glimpse
