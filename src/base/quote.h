#pragma once

// Text from outside, made fit for a one-line error message.

#include <string>
#include <string_view>

namespace glimpse {

// The text in double quotes; control characters, quotes, backslashes and bytes that are not ASCII become escapes, and
// what is beyond `max_bytes` of input becomes "...".
std::string in_quotes(std::string_view text, size_t max_bytes = 120);

}  // namespace glimpse
