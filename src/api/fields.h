#pragma once

// Typed look-ups in a request's body: null counts as absent, a wrong type or a value out of range is a 400 that names
// the field.

#include <optional>
#include <string>
#include <string_view>

#include "api/error.h"

namespace glimpse {

// The error of a field inside another one: "thinking" and "type" → "thinking.type".
ApiError in_field(std::string_view outer, ApiError error);

ApiResult<std::optional<int64_t>> optional_int(const json::object& object, std::string_view key, int64_t least,
                                               int64_t most);
ApiResult<std::optional<double>> optional_number(const json::object& object, std::string_view key);
ApiResult<std::optional<bool>> optional_bool(const json::object& object, std::string_view key);
// At most max_bytes long.
ApiResult<std::optional<std::string>> optional_string(const json::object& object, std::string_view key,
                                                      size_t max_bytes);
// Null where absent.
ApiResult<const json::object*> optional_object(const json::object& object, std::string_view key);
ApiResult<const json::array*> optional_array(const json::object& object, std::string_view key);

}  // namespace glimpse
