#pragma once

// Regular expressions as schemas and clients write them, to automata.

#include <string_view>

#include "base/result.h"
#include "grammar/nfa.h"

namespace glimpse {

enum class RegexText {
  kPlain,  // the text itself, UTF-8
  kJson,   // the text as it stands inside a JSON string, escaped
};
enum class RegexAnchors {
  kImplied,   // the whole text matches
  kSearched,  // some part of it matches (JSON schema's "pattern"), unless ^ and $ say otherwise
};

// Adds the expression between `from` and the state returned. Understood: literals, escapes, classes, groups, | * + ?
// {n,m} with or without a lazy "?" (which language it is does not depend on it), ^ and $ at the ends of the whole
// expression, \d \w \s and their complements (ASCII), "." (everything but a newline). Errors: kUnsupported for what is
// no regular language or has no meaning here (back references, look-around, \b, flags, Unicode properties);
// kInvalidArgument for bad syntax; kTooLarge for repetitions that grow over the bound.
Result<int32_t> add_regex(Nfa& nfa, int32_t from, std::string_view pattern, RegexText text, RegexAnchors anchors);

}  // namespace glimpse
