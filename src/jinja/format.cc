#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jinja/access.h"

namespace glimpse::jinja {

namespace {

constexpr int kMaxWidth = 1000;  // of a formatted field, and digits after the point

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// %[flags][width][.precision]conversion
struct Conversion {
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  int width = 0;
  int precision = -1;
  char type = 's';
};

Result<int> read_number(std::string_view text, size_t& at) {
  int value = 0;
  while (at < text.size() && is_digit(text[at])) {
    value = value * 10 + (text[at++] - '0');
    if (value > kMaxWidth) return Error{ErrorCode::kTooLarge, "format field wider than " + std::to_string(kMaxWidth)};
  }
  return value;
}

Result<Conversion> read_conversion(std::string_view format, size_t& at) {
  Conversion conversion;
  for (; at < format.size(); ++at) {
    if (format[at] == '-') {
      conversion.left = true;
    } else if (format[at] == '0') {
      conversion.zero = true;
    } else if (format[at] == '+') {
      conversion.plus = true;
    } else if (format[at] == ' ') {
      conversion.space = true;
    } else {
      break;
    }
  }
  ASSIGN_OR_RETURN(conversion.width, read_number(format, at));
  if (at < format.size() && format[at] == '.') {
    ++at;
    ASSIGN_OR_RETURN(conversion.precision, read_number(format, at));
  }
  if (at >= format.size()) return type_error("incomplete format");
  conversion.type = format[at++];
  return conversion;
}

Result<std::string> format_number(const Conversion& conversion, const Value& value) {
  if (!value.is_number())
    return type_error(std::string("%") + conversion.type + " format: a number is required, not " + type_name(value));
  std::string flags = conversion.plus ? "+" : conversion.space ? " " : "";
  char out[512];
  if (conversion.type == 'd' || conversion.type == 'i' || conversion.type == 'x' || conversion.type == 'X') {
    if (conversion.type != 'd' && conversion.type != 'i' && !value.is_int())
      return type_error("%x format: an integer is required");
    const double number = value.number();
    if (!value.is_int() && !(std::fabs(number) < 9e18))
      return Error{ErrorCode::kTooLarge, "integer does not fit 64 bits"};
    const int64_t integer = value.is_int() ? value.integer() : static_cast<int64_t>(number);
    if (conversion.precision > 0) return Error{ErrorCode::kUnsupported, "a precision with %d is not supported"};
    if ((conversion.type == 'x' || conversion.type == 'X') && integer < 0) {
      return Error{ErrorCode::kUnsupported, "%x of a negative number is not supported"};
    }
    const std::string form = "%" + flags +
                             (conversion.type == 'i'   ? "lld"
                              : conversion.type == 'd' ? "lld"
                              : conversion.type == 'x' ? "llx"
                                                       : "llX");
    std::snprintf(out, sizeof(out), form.c_str(), static_cast<long long>(integer));  // NOLINT: the form is ours
    return std::string(out);
  }
  if (conversion.precision > 100) return Error{ErrorCode::kTooLarge, "more than 100 digits after the point"};
  const std::string form = "%" + flags + ".*" + conversion.type;
  std::snprintf(out, sizeof(out), form.c_str(), conversion.precision < 0 ? 6 : conversion.precision,
                value.number());  // NOLINT
  return std::string(out);
}

Status append_conversion(Runtime& runtime, const Conversion& conversion, const Value& value, TextBuilder& out) {
  TextBuilder field;
  bool is_number = false;
  switch (conversion.type) {
    case 's':
      RETURN_IF_ERROR(append_str(runtime, value, field));
      break;
    case 'r':
      RETURN_IF_ERROR(append_repr(runtime, value, field));
      break;
    case 'd':
    case 'i':
    case 'x':
    case 'X':
    case 'f':
    case 'F':
    case 'e':
    case 'g': {
      ASSIGN_OR_RETURN(const std::string number, format_number(conversion, value));
      field.append(number);
      is_number = true;
      break;
    }
    default:
      return Error{ErrorCode::kUnsupported, std::string("format conversion %") + conversion.type + " is not supported"};
  }
  const Text text = field.take();
  size_t end = text.size();
  if (!is_number && conversion.precision >= 0) end = text.byte_offset(static_cast<size_t>(conversion.precision));
  const Text shown = [&] {
    TextBuilder cut;
    cut.append(text, 0, end);
    return cut.take();
  }();
  const size_t length = shown.length();
  const size_t missing =
      static_cast<size_t>(conversion.width) > length ? static_cast<size_t>(conversion.width) - length : 0;
  RETURN_IF_ERROR(runtime.charge(shown.size() + missing));
  const bool zeros = conversion.zero && is_number && !conversion.left;
  const size_t sign = zeros && shown.size() > 0 && !is_digit(shown.bytes[0]) ? 1 : 0;
  out.append(shown, 0, sign);
  if (!conversion.left) out.append(std::string(missing, zeros ? '0' : ' '));
  out.append(shown, sign, shown.size());
  if (conversion.left) out.append(std::string(missing, ' '));
  return {};
}

}  // namespace

Result<Value> percent_format(Runtime& runtime, const Text& format, const Value& values) {
  std::vector<Value> row = {values};
  if (values.is<SeqPtr>() && values.as<SeqPtr>()->kind == Seq::Kind::kTuple) row = values.as<SeqPtr>()->items;
  TextBuilder out;
  size_t used = 0;
  size_t at = 0;
  bool by_name = false;
  RETURN_IF_ERROR(runtime.scan(format.size()));
  while (at < format.size()) {
    const size_t percent = std::min(format.bytes.find('%', at), format.size());
    out.append(format, at, percent);
    at = percent + 1;
    if (percent == format.size()) break;
    if (at < format.size() && format.bytes[at] == '%') {
      out.append(format, at, at + 1);
      ++at;
      continue;
    }
    const Value* value = nullptr;
    if (at < format.size() && format.bytes[at] == '(') {
      const size_t close = format.bytes.find(')', at);
      if (close == std::string::npos || !values.is<DictPtr>()) return type_error("format requires a mapping");
      value = values.as<DictPtr>()->find(format.view().substr(at + 1, close - at - 1));
      if (value == nullptr) return type_error("format names a key that is not there");
      at = close + 1;
      by_name = true;
    }
    ASSIGN_OR_RETURN(const Conversion conversion, read_conversion(format.view(), at));
    if (value == nullptr) {
      if (used == row.size()) return type_error("not enough arguments for format string");
      value = &row[used++];
    }
    RETURN_IF_ERROR(append_conversion(runtime, conversion, *value, out));
  }
  if (!by_name && used < row.size() && !values.is<DictPtr>()) {
    // Python lets a list, which could be a mapping for all it knows, pass.
    if (!(values.is<SeqPtr>() && values.as<SeqPtr>()->kind == Seq::Kind::kList)) {
      return type_error("not all arguments converted during string formatting");
    }
  }
  return runtime.string(std::move(out));
}

Result<Value> brace_format(Runtime& runtime, const Text& format, const Args& args) {
  TextBuilder out;
  size_t automatic = 0;
  bool numbered = false;
  RETURN_IF_ERROR(runtime.scan(format.size()));
  for (size_t at = 0; at < format.size();) {
    const size_t brace = std::min(format.bytes.find_first_of("{}", at), format.size());
    out.append(format, at, brace);
    at = brace;
    if (at == format.size()) break;
    if (at + 1 < format.size() && format.bytes[at + 1] == format.bytes[at]) {
      out.append(format, at, at + 1);
      at += 2;
      continue;
    }
    const size_t close = format.bytes.find('}', at);
    if (format.bytes[at] == '}' || close == std::string::npos) return type_error("single brace in format string");
    const std::string field = format.bytes.substr(at + 1, close - at - 1);
    if (field.find_first_of(".[!:{") != std::string::npos) {
      return Error{ErrorCode::kUnsupported, "str.format() with more than plain {} or {name} is not supported"};
    }
    const Value* value = nullptr;
    if (field.empty() || is_digit(field[0])) {
      numbered = numbered || !field.empty();
      if (numbered && (field.empty() || automatic > 0)) {
        return type_error("str.format() cannot mix numbered fields with {}");
      }
      if (field.size() > 6) return type_error("format field is not a number");
      const size_t index =
          field.empty() ? automatic++ : static_cast<size_t>(std::atoi(field.c_str()));  // NOLINT: digits
      if (index < args.positional.size()) value = &args.positional[index];
    } else {
      for (const auto& [name, each] : args.keyword) {
        if (name == field) value = &each;
      }
    }
    if (value == nullptr) return type_error("str.format() has no argument for \"{" + field + "}\"");
    RETURN_IF_ERROR(append_str(runtime, *value, out));
    at = close + 1;
  }
  return runtime.string(std::move(out));
}

}  // namespace glimpse::jinja
