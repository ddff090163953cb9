#include <charconv>
#include <cmath>
#include <cstdio>

#include "jinja/access.h"
#include "jinja/filters.h"
#include "jinja/string_ops.h"

namespace glimpse::jinja::filters {

namespace {

// Python's float("…"): white space around, underscores between digits, inf and nan. Nothing if it is not a number.
std::optional<double> parse_float(const Text& text) {
  const ByteRange kept = strip_range(text.bytes, {}, true, true);
  std::string body = text.bytes.substr(kept.begin, kept.end - kept.begin);
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '_') continue;
    const auto digit = [&](size_t at) { return at < body.size() && body[at] >= '0' && body[at] <= '9'; };
    if (i == 0 || !digit(i - 1) || !digit(i + 1)) return std::nullopt;
    body.erase(i--, 1);
  }
  std::string_view number = body;
  if (number.starts_with('+') && !number.starts_with("+-")) number.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (number.empty() || end != number.data() + number.size()) return std::nullopt;
  if (number.find('(') != std::string_view::npos) return std::nullopt;  // from_chars reads "nan(x)", Python does not
  if (error == std::errc::result_out_of_range) {
    const bool tiny = number.find("e-") != std::string_view::npos || number.find("E-") != std::string_view::npos;
    const double magnitude = tiny ? 0.0 : HUGE_VAL;
    return number.starts_with('-') ? -magnitude : magnitude;
  }
  return value;
}

// Python's int("…", base). Nothing if it is not a whole number.
Result<std::optional<int64_t>> parse_int(const Text& text, int64_t base) {
  if (base != 0 && (base < 2 || base > 36)) return std::optional<int64_t>();
  const ByteRange kept = strip_range(text.bytes, {}, true, true);
  std::string body = text.bytes.substr(kept.begin, kept.end - kept.begin);
  bool negative = false;
  if (!body.empty() && (body[0] == '+' || body[0] == '-')) {
    negative = body[0] == '-';
    body.erase(0, 1);
  }
  if (body.size() > 2 && body[0] == '0') {
    const char mark = static_cast<char>(body[1] | 0x20);
    const int64_t marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      body.erase(0, body[2] == '_' ? 3 : 2);
    }
  }
  if (base == 0) base = 10;
  if (body.empty() || body.front() == '_' || body.back() == '_' || body.find("__") != std::string::npos ||
      body[0] == '-') {
    return std::optional<int64_t>();
  }
  std::erase(body, '_');
  if (negative) body.insert(body.begin(), '-');
  int64_t value = 0;
  const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), value, static_cast<int>(base));
  if (end != body.data() + body.size()) return std::optional<int64_t>();
  if (error == std::errc::result_out_of_range) return Error{ErrorCode::kTooLarge, "integer does not fit 64 bits"};
  return std::optional<int64_t>(value);
}

Result<Value> truncated(double value) {
  if (!(std::fabs(value) < 9.2e18)) return Error{ErrorCode::kTooLarge, "integer does not fit 64 bits"};
  return Value(static_cast<int64_t>(value));
}

}  // namespace

Result<Value> abs(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("abs", args, {}));
  (void)bound;
  if (value.is<double>()) return Value(std::fabs(value.as<double>()));
  if (!value.is_int()) return type_error("bad operand type for abs(): '" + type_name(value) + "'");
  return value.integer() < 0 ? arithmetic(runtime, Op::kSub, Value(int64_t{0}), value) : Value(value.integer());
}

Result<Value> attr(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("attr", args, {"name"}, 1));
  ASSIGN_OR_RETURN(const TextPtr name, to_str(runtime, *bound[0]));
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (value.is<DictPtr>() && !has_method(value, name->bytes)) return Value(Undefined{});  // attributes only, no items
  const std::string temporary = name->bytes;
  ASSIGN_OR_RETURN(Value found, get_attribute(runtime, value, temporary));
  return found.is_undefined() ? Value(Undefined{}) : std::move(found);
}

Result<Value> center(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("center", args, {"width"}));
  if (bound[0] != nullptr && !bound[0]->is_int()) return type_error("center() needs an integer");
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  return pad(runtime, *text, "center", bound[0] == nullptr ? 80 : bound[0]->integer(), *trusted_text(" "));
}

Result<Value> fallback(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("default", args, {"default_value", "boolean"}));
  if (value.is_undefined() || (bound[1] != nullptr && truthy(*bound[1]) && !truthy(value))) {
    return bound[0] != nullptr ? *bound[0] : runtime.string("");
  }
  return value;
}

Result<Value> format(Runtime& runtime, const Value& value, const Args& args) {
  if (!args.positional.empty() && !args.keyword.empty())
    return type_error("format() takes positional or keyword arguments, not both");
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  if (args.keyword.empty()) {
    ASSIGN_OR_RETURN(const Value row, runtime.seq(Seq::Kind::kTuple, args.positional));
    return percent_format(runtime, *text, row);
  }
  ASSIGN_OR_RETURN(const Value dict,
                   call_function(runtime, Function::kDict, Args{.positional = {}, .keyword = args.keyword}));
  return percent_format(runtime, *text, dict);
}

Result<Value> indent(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("indent", args, {"width", "first", "blank"}));
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (!value.is_string()) return type_error("indent() needs a string, not '" + type_name(value) + "'");
  TextPtr indention = trusted_text("    ");
  if (bound[0] != nullptr && bound[0]->is_string()) {
    indention = bound[0]->as<TextPtr>();
  } else if (bound[0] != nullptr) {
    if (!bound[0]->is_int()) return type_error("indent() width must be an integer or a string");
    const int64_t width = std::max<int64_t>(bound[0]->integer(), 0);
    if (width > 1000) return Error{ErrorCode::kTooLarge, "indent() of " + std::to_string(width) + " columns"};
    indention = trusted_text(std::string(static_cast<size_t>(width), ' '));
  }
  const bool blank = bound[2] != nullptr && truthy(*bound[2]);
  // As jinja2: a newline is added first, so that the last line, even if empty, counts as one.
  TextBuilder padded;
  padded.append(value.text());
  padded.append("\n");
  ASSIGN_OR_RETURN(const Value lines, split_lines(runtime, padded.take(), false));
  TextBuilder out;
  bool is_first = true;
  for (const Value& line : lines.as<SeqPtr>()->items) {
    RETURN_IF_ERROR(runtime.charge(line.text().size() + indention->size() + 1));
    if (!is_first) out.append("\n");
    if (is_first ? bound[1] != nullptr && truthy(*bound[1]) : blank || line.text().size() > 0) out.append(*indention);
    out.append(line.text());
    is_first = false;
  }
  return runtime.string(std::move(out));
}

Result<Value> length(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("length", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(const int64_t count, length_of(runtime, value));
  return Value(count);
}

Result<Value> replace(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("replace", args, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  ASSIGN_OR_RETURN(const TextPtr from, to_str(runtime, *bound[0]));
  ASSIGN_OR_RETURN(const TextPtr to, to_str(runtime, *bound[1]));
  int64_t count = -1;
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    if (!bound[2]->is_int()) return type_error("replace() count must be an integer");
    count = bound[2]->integer();
  }
  return jinja::replace(runtime, *text, *from, *to, count);
}

Result<Value> round(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("round", args, {"precision", "method"}));
  (void)runtime;
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (!value.is_number()) return type_error("round() needs a number, not '" + type_name(value) + "'");
  if (bound[0] != nullptr && !bound[0]->is_int()) return type_error("round() precision must be an integer");
  const int64_t precision = bound[0] == nullptr ? 0 : bound[0]->integer();
  if (precision < 0 || precision > 100)
    return Error{ErrorCode::kUnsupported, "round() to " + std::to_string(precision) + " digits is not supported"};
  const std::string method = bound[1] == nullptr ? "common" : bound[1]->is_string() ? bound[1]->text().bytes : "";
  if (method == "ceil" || method == "floor") {
    const double scale = std::pow(10.0, static_cast<double>(precision));
    const double scaled = value.number() * scale;
    return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale);
  }
  if (method != "common") return type_error("round() method must be common, ceil or floor");
  if (value.is_int()) return Value(value.integer());
  const double number = value.as<double>();
  if (!std::isfinite(number)) return value;
  char digits[512];  // 309 before the point, at most 100 behind
  const int size = std::snprintf(digits, sizeof(digits), "%.*f", static_cast<int>(precision), number);
  double rounded = 0;
  std::from_chars(digits, digits + size, rounded);
  return Value(rounded);
}

Result<Value> string(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("string", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(TextPtr text, to_str(runtime, value));
  return Value(std::move(text));
}

// Upper case after white space, "-", "(", "{", "[" and "<", lower case elsewhere.
Result<Value> title(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("title", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  TextBuilder out;
  bool starts = true;
  for (size_t at = 0; at < text->size();) {
    const CodePoint c = code_point_at(text->bytes, at);
    RETURN_IF_ERROR(runtime.step());
    ASSIGN_OR_RETURN(const Value letter,
                     jinja::change_case(runtime, *slice(*text, at, at + c.bytes), starts ? "upper" : "lower"));
    out.append(letter.text());
    starts = is_space(c.value) ||
             (c.bytes == 1 && std::string_view("-({[<").find(text->bytes[at]) != std::string_view::npos);
    at += c.bytes;
  }
  return runtime.string(std::move(out));
}

Result<Value> to_float(Runtime&, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("float", args, {"default"}));
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (value.is_number()) return Value(value.number());
  if (value.is_string()) {
    if (const std::optional<double> number = parse_float(value.text())) return Value(*number);
  }
  return bound[0] != nullptr ? *bound[0] : Value(0.0);
}

Result<Value> to_int(Runtime&, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("int", args, {"default", "base"}));
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  const Value otherwise = bound[0] != nullptr ? *bound[0] : Value(int64_t{0});
  if (value.is_int()) return Value(value.integer());
  if (value.is<double>()) {
    if (std::isnan(value.as<double>())) return otherwise;
    return truncated(value.as<double>());
  }
  if (!value.is_string()) return otherwise;
  if (bound[1] != nullptr && !bound[1]->is_int()) return type_error("int() base must be an integer");
  ASSIGN_OR_RETURN(const std::optional<int64_t> whole,
                   parse_int(value.text(), bound[1] == nullptr ? 10 : bound[1]->integer()));
  if (whole.has_value()) return Value(*whole);
  const std::optional<double> number = parse_float(value.text());
  if (!number.has_value() || !std::isfinite(*number)) return otherwise;
  return truncated(*number);
}

Result<Value> trim(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("trim", args, {"chars"}));
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  Args inner;
  if (bound[0] != nullptr) inner.positional.push_back(*bound[0]);
  return call_method(runtime, Value(text), "strip", inner);
}

template <char kind>
Result<Value> change_case(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("filter", args, {}));
  (void)bound;
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  return jinja::change_case(runtime, *text, kind == 'u' ? "upper" : kind == 'l' ? "lower" : "capitalize");
}
template Result<Value> change_case<'u'>(Runtime&, const Value&, const Args&);
template Result<Value> change_case<'l'>(Runtime&, const Value&, const Args&);
template Result<Value> change_case<'c'>(Runtime&, const Value&, const Args&);

}  // namespace glimpse::jinja::filters
