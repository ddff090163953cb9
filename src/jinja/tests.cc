#include <algorithm>
#include <utility>

#include "jinja/access.h"
#include "jinja/ast.h"
#include "jinja/string_ops.h"

namespace glimpse::jinja {

namespace {

using Test = TestFunction;

template <Compare op>
Result<bool> compares(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("test", args, {"other"}, 1));
  return compare_with(runtime, op, value, *bound[0]);
}

// A test that looks at the value only.
template <bool (*check)(const Value&)>
Result<bool> plain(Runtime&, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("test", args, {}));
  (void)bound;
  return check(value);
}

bool defined(const Value& v) {
  return !v.is_undefined();
}
bool undefined(const Value& v) {
  return v.is_undefined();
}
bool none(const Value& v) {
  return v.is_none();
}
bool boolean(const Value& v) {
  return v.is<bool>();
}
bool is_true(const Value& v) {
  return v.is<bool>() && v.as<bool>();
}
bool is_false(const Value& v) {
  return v.is<bool>() && !v.as<bool>();
}
bool integer(const Value& v) {
  return v.is<int64_t>();
}
bool floating(const Value& v) {
  return v.is<double>();
}
bool number(const Value& v) {
  return v.is_number();
}
bool string(const Value& v) {
  return v.is_string();
}
bool mapping(const Value& v) {
  return v.is<DictPtr>();
}
bool callable(const Value& v) {
  return v.is<MethodPtr>() || v.is<const Macro*>() || v.is<Function>() || v.is_undefined();
}
bool iterable(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is<DictPtr>() || v.is<SeqPtr>() || v.is<LoopPtr>();
}
bool sequence(const Value& v) {
  if (v.is<SeqPtr>()) return v.as<SeqPtr>()->kind != Seq::Kind::kIterator && v.as<SeqPtr>()->kind != Seq::Kind::kView;
  return v.is_undefined() || v.is_string() || v.is<DictPtr>();
}

Result<bool> in(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("in", args, {"seq"}, 1));
  return contains(runtime, *bound[0], value);
}

Result<bool> sameas(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("sameas", args, {"other"}, 1));
  if (type_name(value) != type_name(*bound[0])) return false;
  if (value.is<SeqPtr>()) return value.as<SeqPtr>() == bound[0]->as<SeqPtr>();
  if (value.is<DictPtr>()) return value.as<DictPtr>() == bound[0]->as<DictPtr>();
  return equal(runtime, value, *bound[0]);
}

Result<bool> remainder_is(Runtime& runtime, const Value& value, const Value& divisor, int64_t wanted) {
  ASSIGN_OR_RETURN(const Value remainder, arithmetic(runtime, Op::kMod, value, divisor));
  return equal(runtime, remainder, Value(wanted));
}
Result<bool> odd(Runtime& runtime, const Value& value, const Args&) {
  return remainder_is(runtime, value, Value(int64_t{2}), 1);
}
Result<bool> even(Runtime& runtime, const Value& value, const Args&) {
  return remainder_is(runtime, value, Value(int64_t{2}), 0);
}
Result<bool> divisibleby(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("divisibleby", args, {"num"}, 1));
  return remainder_is(runtime, value, *bound[0], 0);
}

Result<bool> lower(Runtime& runtime, const Value& value, const Args&) {
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  return classify(*text, "islower").value_or(false);
}
Result<bool> upper(Runtime& runtime, const Value& value, const Args&) {
  ASSIGN_OR_RETURN(const TextPtr text, to_str(runtime, value));
  return classify(*text, "isupper").value_or(false);
}

constexpr std::pair<std::string_view, Test> kTests[] = {
    {"defined", plain<defined>},
    {"undefined", plain<undefined>},
    {"none", plain<none>},
    {"boolean", plain<boolean>},
    {"true", plain<is_true>},
    {"false", plain<is_false>},
    {"integer", plain<integer>},
    {"float", plain<floating>},
    {"number", plain<number>},
    {"string", plain<string>},
    {"mapping", plain<mapping>},
    {"callable", plain<callable>},
    {"iterable", plain<iterable>},
    {"sequence", plain<sequence>},
    {"in", in},
    {"sameas", sameas},
    {"odd", odd},
    {"even", even},
    {"divisibleby", divisibleby},
    {"lower", lower},
    {"upper", upper},
    {"eq", compares<Compare::kEq>},
    {"equalto", compares<Compare::kEq>},
    {"==", compares<Compare::kEq>},
    {"ne", compares<Compare::kNe>},
    {"!=", compares<Compare::kNe>},
    {"lt", compares<Compare::kLt>},
    {"lessthan", compares<Compare::kLt>},
    {"<", compares<Compare::kLt>},
    {"le", compares<Compare::kLe>},
    {"<=", compares<Compare::kLe>},
    {"gt", compares<Compare::kGt>},
    {"greaterthan", compares<Compare::kGt>},
    {">", compares<Compare::kGt>},
    {"ge", compares<Compare::kGe>},
    {">=", compares<Compare::kGe>},
};

}  // namespace

TestFunction find_test(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(kTests), std::end(kTests), [&](const auto& each) { return each.first == name; });
  return found == std::end(kTests) ? nullptr : found->second;
}

}  // namespace glimpse::jinja
