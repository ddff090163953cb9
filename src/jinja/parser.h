#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "jinja/ast.h"

namespace glimpse::jinja {

struct Program {
  Block body;
  std::vector<std::string> names;  // by name_id: every name the template reads or sets
};

// Deepest nesting of blocks and expressions together; a long chain of + counts one level per +.
inline constexpr int kMaxTreeDepth = 200;

// Errors: kInvalidData (syntax), kUnsupported (Jinja that this interpreter leaves out: inheritance, includes, call
// blocks, recursive loops, line statements, unknown filters and tests), kTooLarge (nesting); each with the line.
Result<Program> parse(std::string_view source);

}  // namespace glimpse::jinja
