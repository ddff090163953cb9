#include "model/fields.h"

#include <cstdio>

#include "base/quote.h"

namespace glimpse {

namespace {

std::string number_text(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

// The `"key": NaN` (or Infinity) in a text that is not JSON, if that is what is wrong with it.
std::optional<std::string> find_not_a_number(std::string_view text) {
  for (const std::string_view literal : {"NaN", "Infinity", "-Infinity"}) {
    for (size_t at = text.find(literal); at != text.npos; at = text.find(literal, at + 1)) {
      const size_t colon = text.find_last_not_of(" \t\r\n", at == 0 ? 0 : at - 1);
      if (colon == text.npos || text[colon] != ':') continue;
      const size_t end = text.rfind('"', colon);
      if (end == text.npos || end == 0) continue;
      const size_t begin = text.rfind('"', end - 1);
      if (begin == text.npos) continue;
      return "field " + in_quotes(text.substr(begin + 1, end - begin - 1)) + " is " + std::string(literal) +
             ", must be a finite number";
    }
  }
  return std::nullopt;
}

}  // namespace

template <typename T>
T Fields::take(Result<T> result, T fallback) {
  if (result) return *std::move(result);
  if (!error_) error_ = std::move(result).error().in(path_.empty() ? "top level" : path_.substr(0, path_.size() - 1));
  return fallback;
}

std::optional<Fields> Fields::child(std::string_view key) {
  const json::value* value = find(*object_, key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    fail(key, "must be an object");
    return std::nullopt;
  }
  return Fields(value->get_object(), path_ + std::string(key) + ".");
}

int64_t Fields::integer(std::string_view key, int64_t fallback, int64_t min, int64_t max) {
  const int64_t value = take(get_int(*object_, key, fallback), fallback);
  if (value < min || value > max) {
    fail(key, "is " + std::to_string(value) + ", must be " + std::to_string(min) + " to " + std::to_string(max));
    return fallback;
  }
  return value;
}

std::optional<int64_t> Fields::optional_integer(std::string_view key, int64_t min, int64_t max) {
  if (!has(key)) return std::nullopt;
  return integer(key, min, min, max);
}

double Fields::number(std::string_view key, double fallback, double min, double max) {
  const double value = take(get_double(*object_, key, fallback), fallback);
  if (!(value >= min && value <= max)) {
    fail(key, min == kPositive
                  ? "is " + number_text(value) + ", must be above 0 and at most " + number_text(max)
                  : "is " + number_text(value) + ", must be " + number_text(min) + " to " + number_text(max));
    return fallback;
  }
  return value;
}

std::optional<double> Fields::optional_number(std::string_view key, double min, double max) {
  if (!has(key)) return std::nullopt;
  return number(key, min, min, max);
}

bool Fields::boolean(std::string_view key, bool fallback) {
  return take(get_bool(*object_, key, fallback), fallback);
}

std::string Fields::string(std::string_view key, std::string_view fallback) {
  return take(get_string(*object_, key, fallback), std::string(fallback));
}

std::vector<int64_t> Fields::integers(std::string_view key, int64_t min, int64_t max, size_t max_count) {
  const json::value* value = find(*object_, key);
  if (value == nullptr) return {};
  if (!value->is_array()) return {integer(key, min, min, max)};
  std::vector<int64_t> list;
  if (value->get_array().size() > max_count) {
    fail(key, "has " + std::to_string(value->get_array().size()) + " entries, at most " + std::to_string(max_count) +
                  " are allowed");
    return {};
  }
  for (const json::value& item : value->get_array()) {
    if (!item.is_int64() || item.get_int64() < min || item.get_int64() > max) {
      fail(key, "must hold integers " + std::to_string(min) + " to " + std::to_string(max) + " only");
      return {};
    }
    list.push_back(item.get_int64());
  }
  return list;
}

void Fields::fail(std::string_view key, std::string_view reason, ErrorCode code) {
  if (!error_) error_ = Error{code, "field \"" + path_ + std::string(key) + "\" " + std::string(reason)};
}

void Fields::merge(Fields& other) {
  if (!error_ && other.error_) error_ = other.error_;
}

Result<json::object> parse_config_object(std::string_view text, std::string_view path) {
  auto document = parse_json(text);
  if (!document) {
    if (auto reason = find_not_a_number(text)) return Error{ErrorCode::kInvalidData, *std::move(reason)}.in(path);
    return std::move(document).error().in(path);
  }
  if (!document->is_object()) return Error{ErrorCode::kInvalidData, "must be a JSON object"}.in(path);
  return std::move(document->get_object());
}

}  // namespace glimpse
