#pragma once

// JSON from outside: bounded parsing, and typed access whose errors name the field. The parser is Boost.JSON.

#include <boost/json.hpp>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace glimpse {

namespace json = boost::json;

// Errors: kInvalidData with byte offset and reason; depth above 64 is refused. Duplicate keys: the last one wins.
// NaN and Infinity literals are syntax errors.
Result<json::value> parse_json(std::string_view text);

// JSON text with numbers as people write them: 417.378, where Boost.JSON's serialize() writes 4.17378E2. Numbers that
// are not finite become null.
std::string to_text(const json::value& value);

// Typed look-ups in an object. A missing key or a JSON null yields the fallback; a value of the wrong type or out of
// range is kInvalidData naming the key. `find` returns nullptr for a missing key and for null.
const json::value* find(const json::object& object, std::string_view key);
Result<int64_t> get_int(const json::object& object, std::string_view key, int64_t fallback);
Result<double> get_double(const json::object& object, std::string_view key, double fallback);
Result<bool> get_bool(const json::object& object, std::string_view key, bool fallback);
Result<std::string> get_string(const json::object& object, std::string_view key, std::string_view fallback);

}  // namespace glimpse
