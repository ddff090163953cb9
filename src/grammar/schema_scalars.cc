#include "grammar/schema_scalars.h"

#include <algorithm>
#include <array>

#include "base/quote.h"
#include "grammar/number_range.h"
#include "grammar/regex.h"

namespace glimpse {

namespace {

struct Format {
  std::string_view name;
  std::string_view pattern;
};
constexpr std::array<Format, 6> kFormats = {{
    {"date-time",
     "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
     "(\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"},
    // The 29th to 31st of the months that have them, and of no others; the 29th of February is left out.
    {"date", "[0-9]{4}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"},
    {"time", "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"},
    {"uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"},
    {"email", "[A-Za-z0-9_+-]+(\\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\\.[A-Za-z]{2,})+"},
    {"ipv4", "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"},
}};

}  // namespace

Error bad_keyword(std::string_view keyword, std::string_view reason) {
  return {ErrorCode::kInvalidArgument, "the schema's " + in_quotes(keyword, 40) + " " + std::string(reason)};
}

Error unsupported_keyword(std::string_view keyword, std::string_view why) {
  return {ErrorCode::kUnsupported, "the schema's " + in_quotes(keyword, 40) + " " + std::string(why)};
}

Result<std::optional<int64_t>> count_of(const json::object& schema, std::string_view keyword) {
  const json::value* value = find(schema, keyword);
  if (value == nullptr) return std::optional<int64_t>();
  auto count = get_int(schema, keyword, 0);
  if (!count || *count < 0) return bad_keyword(keyword, "must be an integer of at least 0");
  return std::optional(std::min(*count, kMaxSchemaCount));
}

Result<int32_t> add_string(RuleSet& set, Nfa& nfa, int32_t from, const json::object& object) {
  ASSIGN_OR_RETURN(const auto least, count_of(object, "minLength"));
  ASSIGN_OR_RETURN(const auto most, count_of(object, "maxLength"));
  const json::value* pattern = find(object, "pattern");
  std::string_view expression;
  if (pattern != nullptr) {
    if (!pattern->is_string()) return bad_keyword("pattern", "must be a string");
    expression = pattern->get_string();
  } else if (const json::value* format = find(object, "format"); format != nullptr && format->is_string()) {
    for (const Format& each : kFormats) {
      if (std::string_view(format->get_string()) == each.name) expression = each.pattern;
    }
  }
  const bool bounded = least.value_or(0) > 0 || most.has_value();
  if (!expression.empty()) {
    if (bounded && pattern != nullptr) return unsupported_keyword("pattern", "together with a length is not supported");
    Nfa own;
    const auto anchors = pattern != nullptr ? RegexAnchors::kSearched : RegexAnchors::kImplied;
    ASSIGN_OR_RETURN(const int32_t end, add_regex(own, own.add_text(0, "\""), expression, RegexText::kJson, anchors));
    ASSIGN_OR_RETURN(RuleDfa rule, determinize(own, own.add_text(end, "\"")));
    return nfa.add_call(from, set.add(std::move(rule)));
  }
  if (!bounded) return nfa.add_call(from, kStringRule);
  const auto max_count = most ? static_cast<uint32_t>(*most) : RuleDfa::kUnbounded;
  if (least.value_or(0) > most.value_or(kMaxSchemaCount)) return bad_keyword("minLength", "is above maxLength");
  return nfa.add_call(from, set.add(bounded_string_rule(static_cast<uint32_t>(least.value_or(0)), max_count)));
}

Result<int32_t> add_number(Nfa& nfa, int32_t from, bool is_integer, const json::object& object) {
  NumberBounds bounds;
  const auto read = [&](std::string_view keyword, std::optional<double>& bound, bool& exclusive,
                        bool larger) -> Status {
    const json::value* value = find(object, keyword);
    if (value == nullptr) return {};
    if (!value->is_number()) return bad_keyword(keyword, "must be a number");
    const double number = value->to_number<double>();
    const bool is_exclusive = keyword.starts_with("exclusive");
    if (!bound || (larger ? number > *bound : number < *bound) || (number == *bound && is_exclusive)) {
      bound = number;
      exclusive = is_exclusive;
    }
    return {};
  };
  RETURN_IF_ERROR(read("minimum", bounds.minimum, bounds.exclusive_minimum, true));
  RETURN_IF_ERROR(read("exclusiveMinimum", bounds.minimum, bounds.exclusive_minimum, true));
  RETURN_IF_ERROR(read("maximum", bounds.maximum, bounds.exclusive_maximum, false));
  RETURN_IF_ERROR(read("exclusiveMaximum", bounds.maximum, bounds.exclusive_maximum, false));
  if (const json::value* multiple = find(object, "multipleOf"); multiple != nullptr) {
    if (!multiple->is_number() || multiple->to_number<double>() != 1) return unsupported_keyword("multipleOf");
    is_integer = true;
  }
  if (!bounds.any()) return nfa.add_call(from, is_integer ? kIntegerRule : kNumberRule);
  return is_integer ? add_integer_range(nfa, from, bounds) : add_number_range(nfa, from, bounds);
}

}  // namespace glimpse
