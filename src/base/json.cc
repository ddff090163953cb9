#include "base/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace glimpse {

namespace {

Error wrong_type(std::string_view key, std::string_view expected, const json::value& value) {
  std::string shown = json::serialize(value);
  if (shown.size() > 60) shown = shown.substr(0, 57) + "...";
  return {ErrorCode::kInvalidData,
          "field \"" + std::string(key) + "\" must be " + std::string(expected) + ", not " + shown};
}

}  // namespace

Result<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 64;
  json::stream_parser parser(json::storage_ptr{}, options);
  json::error_code code;
  const size_t used = parser.write_some(text.data(), text.size(), code);
  if (!code && used < text.size()) code = json::error::extra_data;
  if (!code) parser.finish(code);
  if (code) {
    return Error{ErrorCode::kInvalidData, "not valid JSON at byte " + std::to_string(used) + ": " + code.message()};
  }
  return parser.release();
}

namespace {

void append_text(const json::value& value, std::string& out) {
  if (const auto* object = value.if_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (!std::exchange(first, false)) out += ',';
      out += json::serialize(json::string(key));
      out += ':';
      append_text(member, out);
    }
    out += '}';
  } else if (const auto* array = value.if_array()) {
    out += '[';
    for (size_t i = 0; i < array->size(); ++i) {
      if (i > 0) out += ',';
      append_text((*array)[i], out);
    }
    out += ']';
  } else if (const double* number = value.if_double(); number != nullptr && std::isfinite(*number)) {
    std::array<char, 32> digits;
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), *number).ptr;
    out.append(digits.data(), end);
  } else {
    out += value.is_double() ? "null" : json::serialize(value);
  }
}

}  // namespace

std::string to_text(const json::value& value) {
  std::string out;
  append_text(value, out);
  return out;
}

const json::value* find(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Result<int64_t> get_int(const json::object& object, std::string_view key, int64_t fallback) {
  const json::value* value = find(object, key);
  if (value == nullptr) return fallback;
  if (value->is_int64()) return value->get_int64();
  // A float that is whole, as some exporters write integers.
  if (value->is_double() && std::floor(value->get_double()) == value->get_double() &&
      std::fabs(value->get_double()) < 9e15) {
    return static_cast<int64_t>(value->get_double());
  }
  return wrong_type(key, "an integer", *value);
}

Result<double> get_double(const json::object& object, std::string_view key, double fallback) {
  const json::value* value = find(object, key);
  if (value == nullptr) return fallback;
  double number = 0;
  if (value->is_double()) {
    number = value->get_double();
  } else if (value->is_int64()) {
    number = static_cast<double>(value->get_int64());
  } else if (value->is_uint64()) {
    number = static_cast<double>(value->get_uint64());
  } else {
    return wrong_type(key, "a number", *value);
  }
  if (!std::isfinite(number)) return wrong_type(key, "a finite number", *value);
  return number;
}

Result<bool> get_bool(const json::object& object, std::string_view key, bool fallback) {
  const json::value* value = find(object, key);
  if (value == nullptr) return fallback;
  if (!value->is_bool()) return wrong_type(key, "true or false", *value);
  return value->get_bool();
}

Result<std::string> get_string(const json::object& object, std::string_view key, std::string_view fallback) {
  const json::value* value = find(object, key);
  if (value == nullptr) return std::string(fallback);
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  return std::string(value->get_string());
}

}  // namespace glimpse
