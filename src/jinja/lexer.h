#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glimpse::jinja {

enum class TokenType {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,
  kEnd,
};

struct Token {
  TokenType type = TokenType::kEnd;
  int line = 1;
  std::string text;  // data, name, unescaped string, operator, or the digits of a number
  int64_t integer = 0;
  double number = 0;
};

// Splits a template as jinja2's lexer does with trim_blocks and lstrip_blocks on and keep_trailing_newline off (what
// transformers sets), comments and raw blocks already dealt with. Errors: kInvalidData with the line.
Result<std::vector<Token>> tokenize(std::string_view source);

Error syntax_error(int line, const std::string& what);

}  // namespace glimpse::jinja
