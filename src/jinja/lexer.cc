#include "jinja/lexer.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "jinja/text.h"

namespace glimpse::jinja {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_name_start(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}
bool is_name(char c) {
  return is_name_start(c) || is_digit(c);
}

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// "\r\n" and "\r" become "\n", and one newline at the very end is dropped.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
      continue;
    }
    out += '\n';
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  Result<std::vector<Token>> run() {
    while (at_ < source_.size()) RETURN_IF_ERROR(lex_root());
    add(TokenType::kEnd, {});
    return std::move(tokens_);
  }

 private:
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  bool starts(std::string_view prefix) const { return rest().starts_with(prefix); }
  void add(TokenType type, std::string text) {
    tokens_.push_back({.type = type, .line = line_, .text = std::move(text)});
  }

  void advance(size_t to) {
    line_ += static_cast<int>(
        std::count(source_.begin() + static_cast<long>(at_), source_.begin() + static_cast<long>(to), '\n'));
    at_ = to;
  }

  size_t skip_space(size_t at) const {
    while (at < source_.size()) {
      const CodePoint c = code_point_at(source_, at);
      if (!is_space(c.value)) break;
      at += c.bytes;
    }
    return at;
  }

  // Where the next tag starts, npos if there is none.
  size_t next_tag() const {
    for (size_t at = source_.find('{', at_); at != std::string::npos; at = source_.find('{', at + 1)) {
      const char next = at + 1 < source_.size() ? source_[at + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return std::string::npos;
  }

  // The text before a tag with the given sign, without the white space that the tag takes away to its left.
  std::string_view before_tag(std::string_view text, char sign, bool is_variable) const {
    if (sign == '-') return text.substr(0, strip_range(text, {}, false, true).end);
    if (sign == '+' || is_variable) return text;
    const size_t newline = text.rfind('\n');
    const size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_start == 0 && !line_starting_) return text;
    const ByteRange kept = strip_range(text.substr(line_start), {}, true, false);
    return kept.begin == kept.end ? text.substr(0, line_start) : text;
  }

  // Consumes the end of a tag if it stands here: "%}", "-%}" with the white space after it, "+%}"; unless there was a
  // sign, one newline goes with it when `trims`.
  bool consume_end(std::string_view end, bool trims) {
    size_t to = at_;
    if (starts("-") && rest().substr(1).starts_with(end)) {
      to = skip_space(at_ + 1 + end.size());
    } else if (trims && starts("+") && rest().substr(1).starts_with(end)) {
      to = at_ + 1 + end.size();
    } else if (starts(end)) {
      to = at_ + end.size();
      if (trims && to < source_.size() && source_[to] == '\n') ++to;
    } else {
      return false;
    }
    line_starting_ = source_[to - 1] == '\n';
    advance(to);
    return true;
  }

  void add_data(std::string_view text) {
    if (!text.empty()) add(TokenType::kData, std::string(text));
  }

  Status lex_root() {
    const size_t tag = next_tag();
    if (tag == std::string::npos) {
      add_data(rest());
      advance(source_.size());
      return {};
    }
    const char kind = source_[tag + 1];
    const char sign =
        tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+') ? source_[tag + 2] : '\0';
    add_data(before_tag(std::string_view(source_).substr(at_, tag - at_), sign, kind == '{'));
    advance(tag + 2 + (sign != '\0' ? 1 : 0));
    line_starting_ = false;
    if (kind == '#') return lex_comment();
    if (kind == '%' && is_raw()) return lex_raw();
    add(kind == '{' ? TokenType::kVariableBegin : TokenType::kBlockBegin, {});
    return lex_expression(kind == '{');
  }

  Status lex_comment() {
    const int line = line_;
    const size_t end = source_.find("#}", at_);
    if (end == std::string::npos) return syntax_error(line, "missing end of comment \"#}\"");
    const bool signed_end = end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+');
    advance(signed_end ? end - 1 : end);
    consume_end("#}", true);
    return {};
  }

  // After "{%" and its sign: is this "raw %}"? Then it is skipped.
  bool is_raw() {
    size_t at = skip_space(at_);
    if (source_.compare(at, 3, "raw") != 0) return false;
    at = skip_space(at + 3);
    if (source_.compare(at, 3, "-%}") == 0) {
      advance(skip_space(at + 3));
    } else if (source_.compare(at, 2, "%}") == 0) {
      advance(at + 2);
    } else {
      return false;
    }
    line_starting_ = source_[at_ - 1] == '\n';
    return true;
  }

  Status lex_raw() {
    const int line = line_;
    for (size_t tag = source_.find("{%", at_); tag != std::string::npos; tag = source_.find("{%", tag + 2)) {
      size_t at = tag + 2;
      const char sign = at < source_.size() && (source_[at] == '-' || source_[at] == '+') ? source_[at] : '\0';
      at = skip_space(at + (sign != '\0' ? 1 : 0));
      if (source_.compare(at, 6, "endraw") != 0) continue;
      at = skip_space(at + 6);
      const std::string_view after = std::string_view(source_).substr(at);
      if (!after.starts_with("%}") && !after.starts_with("-%}") && !after.starts_with("+%}")) continue;
      add_data(before_tag(std::string_view(source_).substr(at_, tag - at_), sign, false));
      advance(at);
      consume_end("%}", true);
      return {};
    }
    return syntax_error(line, "missing end of raw block");
  }

  Status lex_expression(bool is_variable) {
    std::string open;  // brackets not closed yet: inside them "}}" and "%}" are operators
    const int line = line_;
    while (at_ < source_.size()) {
      if (open.empty() && consume_end(is_variable ? "}}" : "%}", !is_variable)) {
        add(is_variable ? TokenType::kVariableEnd : TokenType::kBlockEnd, {});
        return {};
      }
      const char c = source_[at_];
      const size_t after_space = skip_space(at_);
      if (after_space > at_) {
        advance(after_space);
      } else if (is_digit(c)) {
        RETURN_IF_ERROR(lex_number());
      } else if (is_name_start(c)) {
        size_t end = at_;
        while (end < source_.size() && is_name(source_[end])) ++end;
        add(TokenType::kName, source_.substr(at_, end - at_));
        advance(end);
      } else if (c == '\'' || c == '"') {
        RETURN_IF_ERROR(lex_string(c));
      } else {
        RETURN_IF_ERROR(lex_operator(open));
      }
    }
    return syntax_error(line, std::string("tag that begins here has no end \"") + (is_variable ? "}}" : "%}") + "\"");
  }

  Status lex_operator(std::string& open) {
    static constexpr std::array<std::string_view, 26> kOperators = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                                    "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                                    ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const std::string_view op : kOperators) {
      if (!starts(op)) continue;
      if (op == "(" || op == "[" || op == "{") open += op == "(" ? ')' : op == "[" ? ']' : '}';
      if (op == ")" || op == "]" || op == "}") {
        if (open.empty() || open.back() != op[0]) return syntax_error(line_, "unexpected \"" + std::string(op) + "\"");
        open.pop_back();
      }
      add(TokenType::kOperator, std::string(op));
      advance(at_ + op.size());
      return {};
    }
    return syntax_error(line_,
                        "unexpected character \"" + source_.substr(at_, code_point_at(source_, at_).bytes) + "\"");
  }

  // The end of digits_with_underscores at `at`; `at` itself if there is no digit.
  size_t digits_end(size_t at) const {
    while (at < source_.size() &&
           (is_digit(source_[at]) || (source_[at] == '_' && at + 1 < source_.size() && is_digit(source_[at + 1])))) {
      ++at;
    }
    return at;
  }

  Status lex_number() {
    const auto plain = [](std::string text) {
      std::erase(text, '_');
      return text;
    };
    const size_t whole = digits_end(at_);
    size_t end = whole;
    const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
    if (!after_dot && end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1])) {
      end = digits_end(end + 1);
    }
    if (!after_dot && end < source_.size() && (source_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-')) ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent])) end = digits_end(exponent);
    }
    Token token{.type = end > whole ? TokenType::kFloat : TokenType::kInteger,
                .line = line_,
                .text = source_.substr(at_, end - at_)};
    const std::string digits = plain(token.text);
    if (end > whole) {
      std::from_chars(digits.data(), digits.data() + digits.size(), token.number);
    } else {
      int base = 10;
      std::string body = digits;
      const char mark = whole < source_.size() ? static_cast<char>(source_[whole] | 0x20) : '\0';
      if (digits == "0" && (mark == 'x' || mark == 'o' || mark == 'b')) {
        base = mark == 'x' ? 16 : mark == 'o' ? 8 : 2;
        end = whole + 1;
        while (end < source_.size() &&
               (source_[end] == '_' || (hex_digit(source_[end]) >= 0 && hex_digit(source_[end]) < base)))
          ++end;
        body = plain(source_.substr(whole + 1, end - whole - 1));
      } else if (digits.size() > 1 && digits[0] == '0' && digits.find_first_not_of('0') != std::string::npos) {
        return syntax_error(line_, "number " + digits + " starts with a zero");
      }
      const auto parsed = std::from_chars(body.data(), body.data() + body.size(), token.integer, base);
      if (parsed.ec != std::errc() || parsed.ptr != body.data() + body.size()) {
        return syntax_error(line_, "number " + source_.substr(at_, end - at_) + " does not fit 64 bits");
      }
    }
    tokens_.push_back(std::move(token));
    advance(end);
    return {};
  }

  Status lex_string(char quote) {
    const int line = line_;
    std::string out;
    size_t at = at_ + 1;
    while (at < source_.size() && source_[at] != quote) {
      if (source_[at] != '\\') {
        out += source_[at++];
        continue;
      }
      RETURN_IF_ERROR(unescape(at, out, line));
    }
    if (at >= source_.size()) return syntax_error(line, "string that begins here has no end");
    tokens_.push_back({.type = TokenType::kString, .line = line, .text = std::move(out)});
    advance(at + 1);
    return {};
  }

  // One escape as in a Python string; `at` stands on the backslash and is moved behind it.
  Status unescape(size_t& at, std::string& out, int line) {
    if (at + 1 >= source_.size()) return syntax_error(line, "string that begins here has no end");
    const char c = source_[at + 1];
    static constexpr std::string_view kFrom = "abfnrtv\\'\"";
    static constexpr std::string_view kTo = "\a\b\f\n\r\t\v\\'\"";
    const size_t simple = kFrom.find(c);
    if (simple != std::string_view::npos) {
      out += kTo[simple];
      at += 2;
    } else if (c == '\n') {
      at += 2;
    } else if (c >= '0' && c <= '7') {
      uint32_t value = 0;
      size_t end = at + 1;
      while (end < source_.size() && end < at + 4 && source_[end] >= '0' && source_[end] <= '7') {
        value = value * 8 + static_cast<uint32_t>(source_[end++] - '0');
      }
      append_utf8(out, value);
      at = end;
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      uint32_t value = 0;
      for (size_t i = 0; i < digits; ++i) {
        const int digit = at + 2 + i < source_.size() ? hex_digit(source_[at + 2 + i]) : -1;
        if (digit < 0) return syntax_error(line, std::string("truncated \\") + c + " escape in a string");
        value = value * 16 + static_cast<uint32_t>(digit);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) {
        return syntax_error(line, "escape in a string is not a character (half a surrogate pair, or too large)");
      }
      append_utf8(out, value);
      at += 2 + digits;
    } else if (c == 'N') {
      return {Error{ErrorCode::kUnsupported, "line " + std::to_string(line) + ": \\N{name} escapes are not supported"}};
    } else {
      out += '\\';  // Python keeps what it does not know
      ++at;
    }
    return {};
  }

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the next character begins a line
  std::vector<Token> tokens_;
};

}  // namespace

Error syntax_error(int line, const std::string& what) {
  return {ErrorCode::kInvalidData, "line " + std::to_string(line) + ": " + what};
}

Result<std::vector<Token>> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace glimpse::jinja
