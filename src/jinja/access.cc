#include "jinja/access.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace glimpse::jinja {

namespace {

constexpr std::array<std::string_view, 5> kDictMethods = {"get", "items", "keys", "values", "copy"};
constexpr std::array<std::string_view, 5> kDictMutators = {"update", "pop", "popitem", "clear", "setdefault"};
constexpr std::array<std::string_view, 3> kListMethods = {"count", "index", "copy"};
constexpr std::array<std::string_view, 7> kListMutators = {"append", "extend",  "insert", "pop",
                                                           "remove", "reverse", "sort"};

template <typename Names>
bool holds(const Names& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool is_list(const Value& value) {
  return value.is<SeqPtr>() && value.as<SeqPtr>()->kind == Seq::Kind::kList;
}
bool is_row(const Value& value) {
  return value.is<SeqPtr>() && value.as<SeqPtr>()->kind != Seq::Kind::kIterator &&
         value.as<SeqPtr>()->kind != Seq::Kind::kView;
}

const char* owner_of(const Value& value) {
  if (value.is<DictPtr>()) return "dict object";
  if (value.is_string()) return "str object";
  if (value.is_none()) return "None";
  if (value.is<NamespacePtr>()) return "namespace object";
  if (value.is<LoopPtr>()) return "loop";
  if (value.is_number()) return "number";
  return "list object";
}

Result<Value> loop_attribute(Runtime& runtime, const Loop& loop, const std::string& name) {
  const auto size = static_cast<int64_t>(loop.items->items.size());
  const auto index = static_cast<int64_t>(loop.index);
  if (name == "index") return Value(index + 1);
  if (name == "index0") return Value(index);
  if (name == "first") return Value(index == 0);
  if (name == "last") return Value(index + 1 == size);
  if (name == "length") return Value(size);
  if (name == "revindex") return Value(size - index);
  if (name == "revindex0") return Value(size - index - 1);
  if (name == "depth") return Value(int64_t{loop.depth});
  if (name == "depth0") return Value(int64_t{loop.depth} - 1);
  if (name == "previtem") return index == 0 ? Value(Undefined{&name, "loop"}) : loop.items->items[loop.index - 1];
  if (name == "nextitem")
    return index + 1 == size ? Value(Undefined{&name, "loop"}) : loop.items->items[loop.index + 1];
  if (name == "changed") return Error{ErrorCode::kUnsupported, "loop.changed is not supported"};
  (void)runtime;
  return Value(Undefined{&name, "loop"});
}

Result<Value> repeat(Runtime& runtime, const Value& value, int64_t times) {
  times = std::max<int64_t>(times, 0);
  const size_t each = value.is_string() ? value.text().size() : value.as<SeqPtr>()->items.size() * sizeof(Value);
  if (each > 0 && static_cast<uint64_t>(times) > runtime.limits.value_bytes / each) {
    return Error{ErrorCode::kTooLarge, "repeating " + std::to_string(each) + " bytes " + std::to_string(times) +
                                           " times is more than the " + std::to_string(runtime.limits.value_bytes) +
                                           " bytes allowed"};
  }
  if (value.is_string()) {
    RETURN_IF_ERROR(runtime.charge(each * static_cast<size_t>(times)));
    TextBuilder builder;
    for (int64_t i = 0; i < times && each > 0; ++i) builder.append(value.text());
    return runtime.string(std::move(builder));
  }
  const Seq& seq = *value.as<SeqPtr>();
  std::vector<Value> items;
  for (int64_t i = 0; i < times && each > 0; ++i) items.insert(items.end(), seq.items.begin(), seq.items.end());
  return runtime.seq(seq.kind, std::move(items));
}

Error overflow() {
  return {ErrorCode::kTooLarge, "integer does not fit 64 bits"};
}
Error division_by_zero() {
  return {ErrorCode::kInvalidData, "division by zero"};
}

Result<Value> integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return overflow();
  }
  return Value(result);
}

Result<Value> integer_arithmetic(Op op, int64_t a, int64_t b) {
  int64_t out = 0;
  switch (op) {
    case Op::kAdd:
      return __builtin_add_overflow(a, b, &out) ? Result<Value>(overflow()) : Value(out);
    case Op::kSub:
      return __builtin_sub_overflow(a, b, &out) ? Result<Value>(overflow()) : Value(out);
    case Op::kMul:
      return __builtin_mul_overflow(a, b, &out) ? Result<Value>(overflow()) : Value(out);
    case Op::kDiv:
      if (b == 0) return division_by_zero();
      return Value(static_cast<double>(a) / static_cast<double>(b));
    case Op::kFloorDiv:
    case Op::kMod: {
      if (b == 0) return division_by_zero();
      if (b == -1) return op == Op::kMod ? Value(int64_t{0}) : integer_arithmetic(Op::kSub, 0, a);
      const int64_t remainder = a % b;
      const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);  // towards minus infinity, as Python
      return op == Op::kMod ? Value(adjust ? remainder + b : remainder) : Value(a / b - (adjust ? 1 : 0));
    }
    default:
      if (b >= 0) return integer_power(a, b);
      if (a == 0) return division_by_zero();
      return Value(std::pow(static_cast<double>(a), static_cast<double>(b)));
  }
}

Result<Value> float_arithmetic(Op op, double a, double b) {
  switch (op) {
    case Op::kAdd:
      return Value(a + b);
    case Op::kSub:
      return Value(a - b);
    case Op::kMul:
      return Value(a * b);
    case Op::kDiv:
      if (b == 0) return division_by_zero();
      return Value(a / b);
    case Op::kFloorDiv:
    case Op::kMod: {
      if (b == 0) return division_by_zero();
      double remainder = std::fmod(a, b);
      const bool adjust = remainder != 0 && (remainder < 0) != (b < 0);
      double quotient = (a - remainder) / b;
      if (adjust) {
        remainder += b;
        quotient -= 1;
      }
      if (op == Op::kMod) return Value(remainder != 0 ? remainder : std::copysign(0.0, b));
      double floored = std::floor(quotient);
      if (quotient - floored > 0.5) floored += 1;
      return Value(quotient != 0 ? floored : std::copysign(0.0, a / b));
    }
    default: {
      const double power = std::pow(a, b);
      if (std::isnan(power) && !std::isnan(a) && !std::isnan(b)) {
        return Error{ErrorCode::kUnsupported, "the power of a negative number is complex"};
      }
      if (a == 0 && b < 0) return division_by_zero();
      if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) return overflow();
      return Value(power);
    }
  }
}

std::string_view symbol(Op op) {
  switch (op) {
    case Op::kAdd:
      return "+";
    case Op::kSub:
      return "-";
    case Op::kMul:
      return "*";
    case Op::kDiv:
      return "/";
    case Op::kFloorDiv:
      return "//";
    case Op::kMod:
      return "%";
    default:
      return "**";
  }
}

// The positions start, start + step, … that Python's slice.indices(length) goes through.
struct Positions {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

Result<Positions> resolve_slice(const Value& start, const Value& stop, const Value& step, int64_t length) {
  for (const Value* bound : {&start, &stop, &step}) {
    if (!bound->is_none() && !bound->is_int()) return type_error("slice indices must be integers or None");
  }
  Positions positions;
  positions.step = step.is_none() ? 1 : step.integer();
  if (positions.step == 0) return type_error("slice step cannot be zero");
  // Beyond the length a step takes exactly one item, whatever its size; this also keeps the sums below in range.
  positions.step = std::clamp(positions.step, -length - 1, length + 1);
  const int64_t low = positions.step < 0 ? -1 : 0;
  const int64_t high = positions.step < 0 ? length - 1 : length;
  const auto clip = [&](const Value& bound, int64_t fallback) {
    if (bound.is_none()) return fallback;
    int64_t at = bound.integer();
    if (at < 0) at = at < -length ? low : at + length;
    return std::clamp(at, low, high);
  };
  positions.start = clip(start, positions.step < 0 ? high : low);
  positions.stop = clip(stop, positions.step < 0 ? low : high);
  return positions;
}

Result<Value> slice_text(Runtime& runtime, const Text& text, const Positions& p, size_t length) {
  if (p.step == 1) {
    const size_t begin = text.byte_offset(static_cast<size_t>(p.start));
    const size_t end = p.stop <= p.start ? begin : text.byte_offset(static_cast<size_t>(p.stop));
    return runtime.substring(text, begin, end);
  }
  RETURN_IF_ERROR(runtime.charge(length * sizeof(size_t)));
  std::vector<size_t> offsets;
  for (size_t at = 0; at < text.size(); at += code_point_at(text.bytes, at).bytes) offsets.push_back(at);
  offsets.push_back(text.size());
  TextBuilder builder;
  for (int64_t i = p.start; p.step > 0 ? i < p.stop : i > p.stop; i += p.step) {
    builder.append(text, offsets[static_cast<size_t>(i)], offsets[static_cast<size_t>(i) + 1]);
  }
  return runtime.string(std::move(builder));
}

}  // namespace

Error undefined_error(const Undefined& undefined) {
  if (undefined.name == nullptr) return type_error("an undefined value is used");
  if (undefined.owner == nullptr) return type_error("'" + *undefined.name + "' is undefined");
  return type_error("'" + std::string(undefined.owner) + "' has no attribute '" + *undefined.name + "'");
}

Result<Value> get_attribute(Runtime& runtime, const Value& value, const std::string& name) {
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (value.is<LoopPtr>() && name != "cycle") return loop_attribute(runtime, *value.as<LoopPtr>(), name);
  if (value.is<NamespacePtr>()) {
    for (const auto& [key, attribute] : value.as<NamespacePtr>()->attributes) {
      if (key == name) return attribute;
    }
  }
  if (value.is<const Macro*>() && name == "name") return runtime.string(value.as<const Macro*>()->definition->name);
  if ((value.is<DictPtr>() && holds(kDictMutators, name)) || (is_list(value) && holds(kListMutators, name))) {
    return type_error("'" + name + "' would change a " + type_name(value) + ", which templates may not");
  }
  if (has_method(value, name)) {
    RETURN_IF_ERROR(runtime.charge(sizeof(Method)));
    if (depth_of(value) >= kMaxValueDepth) return Error{ErrorCode::kTooLarge, "value nested too deeply"};
    return Value(std::make_shared<const Method>(Method{value, name}));
  }
  if (value.is<DictPtr>()) {
    if (const Value* found = value.as<DictPtr>()->find(std::string_view(name))) return *found;
  }
  return Value(Undefined{&name, owner_of(value)});
}

Result<Value> get_item(Runtime& runtime, const Value& value, const Value& key) {
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (value.is<DictPtr>()) {
    if (key.is_string()) RETURN_IF_ERROR(runtime.scan(key.text().size()));
    if (const Value* found = value.as<DictPtr>()->find(key)) return *found;
  } else if (key.is_int()) {
    int64_t index = key.integer();
    if (value.is_string() || is_row(value)) {
      ASSIGN_OR_RETURN(const int64_t length, length_of(runtime, value));
      if (index < 0) index += length;
      if (index < 0 || index >= length) return Value(Undefined{nullptr, owner_of(value)});
      if (is_row(value)) return value.as<SeqPtr>()->items[static_cast<size_t>(index)];
      const size_t begin = value.text().byte_offset(static_cast<size_t>(index));
      return runtime.substring(value.text(), begin, begin + code_point_at(value.text().bytes, begin).bytes);
    }
  }
  if (key.is_string()) {
    // The name of a temporary may not go into an Undefined: it would not live long enough.
    const std::string name = key.text().bytes;
    ASSIGN_OR_RETURN(Value attribute, get_attribute(runtime, value, name));
    if (!attribute.is_undefined()) return attribute;
  }
  return Value(Undefined{nullptr, owner_of(value)});
}

Result<Value> get_slice(Runtime& runtime, const Value& value, const Value& start, const Value& stop,
                        const Value& step) {
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (type_name(value) == "range") return Error{ErrorCode::kUnsupported, "a slice of a range is not supported"};
  if (!value.is_string() && !is_row(value)) return type_error("'" + type_name(value) + "' object cannot be sliced");
  ASSIGN_OR_RETURN(const int64_t length, length_of(runtime, value));
  ASSIGN_OR_RETURN(const Positions positions, resolve_slice(start, stop, step, length));
  if (value.is_string()) return slice_text(runtime, value.text(), positions, static_cast<size_t>(length));
  const Seq& seq = *value.as<SeqPtr>();
  std::vector<Value> items;
  for (int64_t i = positions.start; positions.step > 0 ? i < positions.stop : i > positions.stop; i += positions.step) {
    items.push_back(seq.items[static_cast<size_t>(i)]);
  }
  return runtime.seq(seq.kind == Seq::Kind::kTuple ? Seq::Kind::kTuple : Seq::Kind::kList, std::move(items));
}

Result<Value> arithmetic(Runtime& runtime, Op op, const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return integer_arithmetic(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_arithmetic(op, a.number(), b.number());
  if (op == Op::kMod && a.is_string()) return percent_format(runtime, a.text(), b);
  if (a.is_undefined()) return undefined_error(a.as<Undefined>());
  if (b.is_undefined()) return undefined_error(b.as<Undefined>());
  if (op == Op::kAdd && a.is_string() && b.is_string()) {
    RETURN_IF_ERROR(runtime.charge(a.text().size() + b.text().size()));
    TextBuilder builder;
    builder.append(a.text());
    builder.append(b.text());
    return runtime.string(std::move(builder));
  }
  if (op == Op::kAdd && is_row(a) && is_row(b) && a.as<SeqPtr>()->kind == b.as<SeqPtr>()->kind &&
      a.as<SeqPtr>()->kind != Seq::Kind::kRange) {
    std::vector<Value> items = a.as<SeqPtr>()->items;
    items.insert(items.end(), b.as<SeqPtr>()->items.begin(), b.as<SeqPtr>()->items.end());
    return runtime.seq(a.as<SeqPtr>()->kind, std::move(items));
  }
  if (op == Op::kMul) {
    const auto repeats = [](const Value& v) {
      return v.is_string() || (is_row(v) && v.as<SeqPtr>()->kind != Seq::Kind::kRange);
    };
    if (repeats(a) && b.is_int()) return repeat(runtime, a, b.integer());
    if (repeats(b) && a.is_int()) return repeat(runtime, b, a.integer());
  }
  return type_error("unsupported operand types for " + std::string(symbol(op)) + ": '" + type_name(a) + "' and '" +
                    type_name(b) + "'");
}

Result<Value> negate(const Value& value, bool minus) {
  if (value.is_undefined()) return undefined_error(value.as<Undefined>());
  if (value.is<double>()) return Value(minus ? -value.as<double>() : value.as<double>());
  if (value.is_int()) return integer_arithmetic(minus ? Op::kSub : Op::kAdd, 0, value.integer());
  return type_error("bad operand type for a sign: '" + type_name(value) + "'");
}

Result<bool> contains(Runtime& runtime, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (!item.is_string()) return type_error("'in <string>' needs a string on the left, not " + type_name(item));
    RETURN_IF_ERROR(runtime.scan(container.text().size() + item.text().size()));
    return find_bytes(container.text().bytes, item.text().bytes, 0) != std::string_view::npos;
  }
  if (container.is<DictPtr>()) {
    const std::string type = type_name(item);
    if (type == "dict" || type == "list" || type == "dict_keys" || type == "dict_items")
      return type_error("unhashable type: '" + type_name(item) + "'");
    if (item.is_string()) RETURN_IF_ERROR(runtime.scan(item.text().size()));
    return container.as<DictPtr>()->find(item) != nullptr;
  }
  if (!container.is<SeqPtr>() && !container.is_undefined()) {
    return type_error("argument of type '" + type_name(container) + "' is not iterable");
  }
  ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, container));
  for (const Value& each : items->items) {
    ASSIGN_OR_RETURN(const bool same, equal(runtime, each, item));
    if (same) return true;
  }
  return false;
}

Result<bool> compare_with(Runtime& runtime, Compare op, const Value& a, const Value& b) {
  switch (op) {
    case Compare::kEq:
      return equal(runtime, a, b);
    case Compare::kNe: {
      ASSIGN_OR_RETURN(const bool same, equal(runtime, a, b));
      return !same;
    }
    case Compare::kIn:
      return contains(runtime, b, a);
    case Compare::kNotIn: {
      ASSIGN_OR_RETURN(const bool found, contains(runtime, b, a));
      return !found;
    }
    default:
      break;
  }
  if (a.is_undefined()) return undefined_error(a.as<Undefined>());
  if (b.is_undefined()) return undefined_error(b.as<Undefined>());
  ASSIGN_OR_RETURN(const int order, compare(runtime, a, b));
  if (order == 2) return false;
  return op == Compare::kLt ? order < 0 : op == Compare::kLe ? order <= 0 : op == Compare::kGt ? order > 0 : order >= 0;
}

bool has_method(const Value& value, std::string_view name) {
  static constexpr std::array<std::string_view, 41> kStringMethods = {
      "capitalize", "casefold",     "center",       "count",   "endswith",    "find",       "format",
      "index",      "isalnum",      "isalpha",      "isascii", "isdecimal",   "isdigit",    "islower",
      "isnumeric",  "isspace",      "isupper",      "join",    "ljust",       "lower",      "lstrip",
      "partition",  "removeprefix", "removesuffix", "replace", "rfind",       "rindex",     "rjust",
      "rpartition", "rsplit",       "rstrip",       "split",   "splitlines",  "startswith", "strip",
      "swapcase",   "title",        "upper",        "zfill",   "isprintable", "expandtabs"};
  if (value.is_string()) return holds(kStringMethods, name);
  if (value.is<DictPtr>()) return holds(kDictMethods, name);
  if (is_list(value)) return holds(kListMethods, name);
  if (is_row(value)) return name == "count" || name == "index";
  return value.is<LoopPtr>() && name == "cycle";
}

}  // namespace glimpse::jinja
