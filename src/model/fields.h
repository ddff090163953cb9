#pragma once

// Bounded look-ups in configuration objects; messages carry the whole path of the field. Private to this folder.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace glimpse {

// An object with its path ("text_config."), and the first error that a look-up met: the caller reads all fields and
// asks once.
class Fields {
 public:
  Fields(const json::object& object, std::string path) : object_(&object), path_(std::move(path)) {}

  bool has(std::string_view key) const { return find(*object_, key) != nullptr; }
  // The object under `key`, if there is one; another type is an error.
  std::optional<Fields> child(std::string_view key);

  int64_t integer(std::string_view key, int64_t fallback, int64_t min, int64_t max);
  std::optional<int64_t> optional_integer(std::string_view key, int64_t min, int64_t max);
  // In [min, max]; (0, max] when `min` is kPositive.
  double number(std::string_view key, double fallback, double min, double max);
  std::optional<double> optional_number(std::string_view key, double min, double max);
  bool boolean(std::string_view key, bool fallback);
  std::string string(std::string_view key, std::string_view fallback);
  // An integer, or a list of at most `max_count`; empty when absent.
  std::vector<int64_t> integers(std::string_view key, int64_t min, int64_t max, size_t max_count);

  // Records an error about a field, unless there is one already.
  void fail(std::string_view key, std::string_view reason, ErrorCode code = ErrorCode::kInvalidData);
  // Takes over what `other` met.
  void merge(Fields& other);
  Status status() const { return error_ ? Status(*error_) : Status(); }

  static constexpr double kPositive = std::numeric_limits<double>::denorm_min();

 private:
  template <typename T>
  T take(Result<T> result, T fallback);

  const json::object* object_;
  std::string path_;
  std::optional<Error> error_;
};

// A configuration file's text as an object. `path` begins every message. NaN and Infinity, which Python's writer emits
// and JSON does not have, are named with their field.
Result<json::object> parse_config_object(std::string_view text, std::string_view path);

}  // namespace glimpse
