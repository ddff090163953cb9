#pragma once

// JSON by hand for the streaming path: a chunk is a few appends to a reused string.

#include <cstdint>
#include <string>
#include <string_view>

#include "api/model.h"

namespace glimpse {

// text between quotes, escaped. `text` is UTF-8.
void append_json_string(std::string_view text, std::string& out);
// The same without the quotes.
void append_json_escaped(std::string_view text, std::string& out);
void append_json_number(int64_t number, std::string& out);
// The shortest spelling that reads back as the same float; not finite: -9999.0, as vLLM writes it.
void append_json_number(float number, std::string& out);

// A token as clients see it in logprobs and token lists: its text, broken UTF-8 replaced; "⟨id⟩" if it has none.
std::string token_text(int32_t model_id, const ApiModel& model);

}  // namespace glimpse
