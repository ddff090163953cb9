#pragma once

#include <string>

#include "base/json.h"

namespace glimpse {

// Whether a value satisfies a schema: written from the JSON Schema standard's sentences, apart from the compiler it
// checks. Returns an empty string, or what is wrong. Patterns are checked with std::regex (ECMAScript).
std::string violation(const json::value& root, const json::value& schema, const json::value& value);

}  // namespace glimpse
