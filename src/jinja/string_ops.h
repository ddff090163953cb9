#pragma once

// Python's string operations on Texts: each result carries the marks of the bytes it was made from.

#include <optional>
#include <string_view>

#include "base/result.h"
#include "jinja/runtime.h"

namespace glimpse::jinja {

size_t rfind_bytes(std::string_view haystack, std::string_view needle);
int64_t count_occurrences(const Text& text, const Text& sub, ByteRange range);

// `most` < 0: no limit.
Result<Value> split_at(Runtime& runtime, const Text& text, std::string_view separator, int64_t most, bool from_right);
Result<Value> split_spaces(Runtime& runtime, const Text& text, int64_t most, bool from_right);
Result<Value> split_lines(Runtime& runtime, const Text& text, bool keep_ends);
Result<Value> replace(Runtime& runtime, const Text& text, const Text& from, const Text& to, int64_t count);

// center, ljust, rjust, zfill to `width` code points. Errors: kTooLarge for a width over the byte limit.
Result<Value> pad(Runtime& runtime, const Text& text, std::string_view method, int64_t width, const Text& fill);

// upper, lower, casefold, capitalize, title, swapcase. Simple case mappings of utf8proc, and ß -> SS.
Result<Value> change_case(Runtime& runtime, const Text& text, std::string_view method);

// isalpha, isdigit, isspace, …; nothing if the name is none of them.
std::optional<bool> classify(const Text& text, std::string_view method);

}  // namespace glimpse::jinja
