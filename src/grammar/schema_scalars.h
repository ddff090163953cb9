#pragma once

// Strings and numbers of JSON schemas, and how schemas' keywords are read.

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "grammar/rule_set.h"

namespace glimpse {

// Larger bounds count as this one.
inline constexpr int64_t kMaxSchemaCount = 1'000'000;

Error bad_keyword(std::string_view keyword, std::string_view reason);
Error unsupported_keyword(std::string_view keyword, std::string_view why = "is not supported");
// A count such as minItems; nothing where the schema has none.
Result<std::optional<int64_t>> count_of(const json::object& schema, std::string_view keyword);

// A string of the schema: pattern or format, else minLength and maxLength.
Result<int32_t> add_string(RuleSet& set, Nfa& nfa, int32_t from, const json::object& schema);
// A number of the schema: minimum, maximum, the exclusive ones, multipleOf 1.
Result<int32_t> add_number(Nfa& nfa, int32_t from, bool is_integer, const json::object& schema);

}  // namespace glimpse
