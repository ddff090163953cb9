#include "jinja/value.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "jinja/ast.h"
#include "jinja/runtime.h"

namespace glimpse::jinja {

namespace {

constexpr size_t kIndexFrom = 8;          // dicts up to this size are searched one by one
constexpr size_t kMaxKeyBytes = 1 << 20;  // of a tuple used as a key, so that shared nesting cannot explode

// Equal values, and only they, have equal canonical keys. False for what Python cannot hash.
bool append_key(const Value& value, std::string& out) {
  if (out.size() > kMaxKeyBytes) return false;
  if (value.is_string()) {
    out += 's' + std::to_string(value.text().size()) + ':' + value.text().bytes;
  } else if (value.is_none()) {
    out += 'z';
  } else if (value.is_int()) {
    out += 'i' + std::to_string(value.integer()) + ';';
  } else if (value.is<double>()) {
    const double number = value.as<double>();
    if (std::floor(number) == number && std::fabs(number) < 9.2e18) {
      out += 'i' + std::to_string(static_cast<int64_t>(number)) + ';';
    } else {
      out += 'f' + float_repr(number) + ';';
    }
  } else if (value.is<SeqPtr>() && value.as<SeqPtr>()->kind == Seq::Kind::kTuple) {
    out += '(';
    for (const Value& item : value.as<SeqPtr>()->items) {
      if (!append_key(item, out)) return false;
    }
    out += ')';
  } else {
    return false;
  }
  return true;
}

std::string undefined_repr() {
  return "Undefined";
}

bool is_printable(uint32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string string_repr(std::string_view bytes) {
  const bool single = bytes.find('\'') != std::string_view::npos;
  const char quote = single && bytes.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    const char byte = bytes[at];
    char escape[16];
    if (byte == '\\' || byte == quote) {
      out += '\\';
      out += byte;
    } else if (byte == '\n' || byte == '\r' || byte == '\t') {
      out += byte == '\n' ? "\\n" : byte == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c.value)) {
      out += bytes.substr(at, c.bytes);
    } else {
      const char* form = c.value < 0x100 ? "\\x%02x" : c.value < 0x10000 ? "\\u%04x" : "\\U%08x";
      std::snprintf(escape, sizeof(escape), form, c.value);
      out += escape;
    }
    at += c.bytes;
  }
  return out + quote;
}

Status append_items_repr(Runtime& runtime, const std::vector<Value>& items, TextBuilder& out, int depth) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out.append(", ");
    RETURN_IF_ERROR(append_repr(runtime, items[i], out, depth + 1));
  }
  return {};
}

Status append_seq_repr(Runtime& runtime, const Seq& seq, TextBuilder& out, int depth) {
  switch (seq.kind) {
    case Seq::Kind::kList:
      out.append("[");
      RETURN_IF_ERROR(append_items_repr(runtime, seq.items, out, depth));
      out.append("]");
      break;
    case Seq::Kind::kTuple:
      out.append("(");
      RETURN_IF_ERROR(append_items_repr(runtime, seq.items, out, depth));
      out.append(seq.items.size() == 1 ? ",)" : ")");
      break;
    case Seq::Kind::kView:
      out.append(seq.label + "([");
      RETURN_IF_ERROR(append_items_repr(runtime, seq.items, out, depth));
      out.append("])");
      break;
    case Seq::Kind::kRange:
      out.append(seq.label);
      break;
    case Seq::Kind::kIterator:
      out.append("<generator object " + seq.label + ">");
      break;
  }
  return {};
}

Status append_dict_repr(Runtime& runtime, const Dict& dict, TextBuilder& out, int depth) {
  out.append("{");
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) out.append(", ");
    RETURN_IF_ERROR(append_repr(runtime, dict.items[i].first, out, depth + 1));
    out.append(": ");
    RETURN_IF_ERROR(append_repr(runtime, dict.items[i].second, out, depth + 1));
  }
  out.append("}");
  return {};
}

Status append_namespace_repr(Runtime& runtime, const Namespace& space, TextBuilder& out, int depth) {
  out.append("<Namespace {");
  for (size_t i = 0; i < space.attributes.size(); ++i) {
    if (i > 0) out.append(", ");
    out.append(string_repr(space.attributes[i].first) + ": ");
    RETURN_IF_ERROR(append_repr(runtime, space.attributes[i].second, out, depth + 1));
  }
  out.append("}>");
  return {};
}

Result<bool> equal_items(Runtime& runtime, const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, equal(runtime, a[i], b[i]));
    if (!same) return false;
  }
  return true;
}

Result<bool> equal_dicts(Runtime& runtime, const Dict& a, const Dict& b) {
  if (a.items.size() != b.items.size()) return false;
  for (const auto& [key, value] : a.items) {
    const Value* other = b.find(key);
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool same, equal(runtime, value, *other));
    if (!same) return false;
  }
  return true;
}

// Exact also where an int does not fit a double: the x86 long double holds every int64.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_int() && b.is_int()) return a.integer() < b.integer() ? -1 : a.integer() > b.integer() ? 1 : 0;
  const auto wide = [](const Value& v) {
    return v.is_int() ? static_cast<long double>(v.integer()) : static_cast<long double>(v.as<double>());
  };
  const long double x = wide(a);
  const long double y = wide(b);
  if (std::isnan(x) || std::isnan(y)) return 2;
  return x < y ? -1 : x > y ? 1 : 0;
}

}  // namespace

long Dict::index_of(const std::string& canonical_key) const {
  if (!index_.empty()) {
    const auto found = index_.find(canonical_key);
    return found == index_.end() ? -1 : static_cast<long>(found->second);
  }
  for (size_t i = 0; i < items.size(); ++i) {
    std::string key;
    append_key(items[i].first, key);
    if (key == canonical_key) return static_cast<long>(i);
  }
  return -1;
}

const Value* Dict::find(std::string_view key) const {
  if (index_.empty()) {
    for (const auto& [name, value] : items) {
      if (name.is_string() && name.text().bytes == key) return &value;
    }
    return nullptr;
  }
  const long at = index_of("s" + std::to_string(key.size()) + ":" + std::string(key));
  return at < 0 ? nullptr : &items[static_cast<size_t>(at)].second;
}

const Value* Dict::find(const Value& key) const {
  if (key.is_string()) return find(key.text().view());
  std::string canonical;
  if (!append_key(key, canonical)) return nullptr;
  const long at = index_of(canonical);
  return at < 0 ? nullptr : &items[static_cast<size_t>(at)].second;
}

bool Dict::insert(Value key, Value value) {
  std::string canonical;
  if (!append_key(key, canonical)) return false;
  depth = std::max({depth, depth_of(key) + 1, depth_of(value) + 1});
  const long at = index_of(canonical);
  if (at >= 0) {
    items[static_cast<size_t>(at)].second = std::move(value);
    return true;
  }
  items.emplace_back(std::move(key), std::move(value));
  if (!index_.empty()) {
    index_.emplace(std::move(canonical), items.size() - 1);
  } else if (items.size() > kIndexFrom) {
    for (size_t i = 0; i < items.size(); ++i) {
      std::string each;
      append_key(items[i].first, each);
      index_.emplace(std::move(each), i);
    }
  }
  return true;
}

int depth_of(const Value& value) {
  if (value.is<SeqPtr>()) return value.as<SeqPtr>()->depth;
  if (value.is<DictPtr>()) return value.as<DictPtr>()->depth;
  if (value.is<LoopPtr>()) return value.as<LoopPtr>()->items->depth + 1;
  if (value.is<MethodPtr>()) return depth_of(value.as<MethodPtr>()->receiver) + 1;
  return 0;  // a namespace too: the runtime takes these apart itself
}

std::string type_name(const Value& value) {
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "NoneType";
  if (value.is<bool>()) return "bool";
  if (value.is<int64_t>()) return "int";
  if (value.is<double>()) return "float";
  if (value.is_string()) return "str";
  if (value.is<DictPtr>()) return "dict";
  if (value.is<NamespacePtr>()) return "Namespace";
  if (value.is<LoopPtr>()) return "LoopContext";
  if (value.is<const Macro*>()) return "Macro";
  if (!value.is<SeqPtr>()) return "function";
  const Seq& seq = *value.as<SeqPtr>();
  switch (seq.kind) {
    case Seq::Kind::kList:
      return "list";
    case Seq::Kind::kTuple:
      return "tuple";
    case Seq::Kind::kRange:
      return "range";
    case Seq::Kind::kView:
      return seq.label;
    case Seq::Kind::kIterator:
      break;
  }
  return "generator";
}

bool truthy(const Value& value) {
  if (value.is_undefined() || value.is_none()) return false;
  if (value.is_int()) return value.integer() != 0;
  if (value.is<double>()) return value.as<double>() != 0;
  if (value.is_string()) return value.text().size() > 0;
  if (value.is<DictPtr>()) return !value.as<DictPtr>()->items.empty();
  if (value.is<SeqPtr>()) return value.as<SeqPtr>()->kind == Seq::Kind::kIterator || !value.as<SeqPtr>()->items.empty();
  return true;
}

Result<bool> equal(Runtime& runtime, const Value& a, const Value& b) {
  RETURN_IF_ERROR(runtime.step());
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.is_undefined() || b.is_undefined()) return a.is_undefined() && b.is_undefined();
  if (a.is_none() || b.is_none()) return a.is_none() && b.is_none();
  if (a.is_string() && b.is_string()) {
    if (a.text().size() != b.text().size()) return false;
    RETURN_IF_ERROR(runtime.scan(a.text().size()));
    return a.text().bytes == b.text().bytes;
  }
  if (a.is<SeqPtr>() && b.is<SeqPtr>()) {
    const Seq& x = *a.as<SeqPtr>();
    const Seq& y = *b.as<SeqPtr>();
    if (&x == &y) return true;
    if (x.kind != y.kind || x.kind == Seq::Kind::kIterator || x.label != y.label) return false;
    return equal_items(runtime, x.items, y.items);
  }
  if (a.is<DictPtr>() && b.is<DictPtr>()) return equal_dicts(runtime, *a.as<DictPtr>(), *b.as<DictPtr>());
  if (a.is<NamespacePtr>() && b.is<NamespacePtr>()) return a.as<NamespacePtr>() == b.as<NamespacePtr>();
  if (a.is<LoopPtr>() && b.is<LoopPtr>()) return a.as<LoopPtr>() == b.as<LoopPtr>();
  if (a.is<const Macro*>() && b.is<const Macro*>()) return a.as<const Macro*>() == b.as<const Macro*>();
  if (a.is<Function>() && b.is<Function>()) return a.as<Function>() == b.as<Function>();
  return false;
}

Result<int> compare(Runtime& runtime, const Value& a, const Value& b) {
  RETURN_IF_ERROR(runtime.step());
  if (a.is_number() && b.is_number()) return compare_numbers(a, b);
  if (a.is_string() && b.is_string()) {
    RETURN_IF_ERROR(runtime.scan(std::min(a.text().size(), b.text().size())));
    const int order = a.text().bytes.compare(b.text().bytes);  // UTF-8 sorts as its code points do
    return order < 0 ? -1 : order > 0 ? 1 : 0;
  }
  if (a.is<SeqPtr>() && b.is<SeqPtr>()) {
    const Seq& x = *a.as<SeqPtr>();
    const Seq& y = *b.as<SeqPtr>();
    if (x.kind == y.kind && (x.kind == Seq::Kind::kList || x.kind == Seq::Kind::kTuple)) {
      for (size_t i = 0; i < std::min(x.items.size(), y.items.size()); ++i) {
        ASSIGN_OR_RETURN(const bool same, equal(runtime, x.items[i], y.items[i]));
        if (!same) return compare(runtime, x.items[i], y.items[i]);
      }
      return x.items.size() < y.items.size() ? -1 : x.items.size() > y.items.size() ? 1 : 0;
    }
  }
  return type_error("'<' not supported between instances of '" + type_name(a) + "' and '" + type_name(b) + "'");
}

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::scientific).ptr;
  const std::string_view shown(digits, static_cast<size_t>(end - digits));
  const int exponent = std::stoi(std::string(shown.substr(shown.find('e') + 1)));
  if (exponent < -4 || exponent >= 16) return std::string(shown);
  char fixed[48];
  const auto fixed_end = std::to_chars(fixed, fixed + sizeof(fixed), value, std::chars_format::fixed).ptr;
  std::string out(fixed, fixed_end);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

Status append_repr(Runtime& runtime, const Value& value, TextBuilder& out, int depth) {
  if (depth > kMaxValueDepth) {
    return Error{ErrorCode::kTooLarge, "value nested deeper than " + std::to_string(kMaxValueDepth)};
  }
  const size_t before = out.size();
  if (value.is_string()) {
    RETURN_IF_ERROR(runtime.charge(value.text().size()));
    out.append(string_repr(value.text().bytes), value.text().is_untrusted());
  } else if (value.is<SeqPtr>()) {
    RETURN_IF_ERROR(append_seq_repr(runtime, *value.as<SeqPtr>(), out, depth));
  } else if (value.is<DictPtr>()) {
    RETURN_IF_ERROR(append_dict_repr(runtime, *value.as<DictPtr>(), out, depth));
  } else if (value.is<NamespacePtr>()) {
    RETURN_IF_ERROR(append_namespace_repr(runtime, *value.as<NamespacePtr>(), out, depth));
  } else if (value.is_undefined()) {
    out.append(undefined_repr());
  } else if (value.is_none()) {
    out.append("None");
  } else if (value.is<bool>()) {
    out.append(value.as<bool>() ? "True" : "False");
  } else if (value.is<int64_t>()) {
    out.append(std::to_string(value.as<int64_t>()));
  } else if (value.is<double>()) {
    out.append(float_repr(value.as<double>()));
  } else if (value.is<LoopPtr>()) {
    const Loop& loop = *value.as<LoopPtr>();
    out.append("<LoopContext " + std::to_string(loop.index + 1) + "/" + std::to_string(loop.items->items.size()) + ">");
  } else if (value.is<const Macro*>()) {
    out.append("<Macro '" + value.as<const Macro*>()->definition->name + "'>");
  } else {
    out.append("<function>");
  }
  // Containers have charged for what is inside them; the few bytes counted twice do not matter.
  return runtime.charge(std::min<size_t>(out.size() - before, 64));
}

Status append_str(Runtime& runtime, const Value& value, TextBuilder& out) {
  if (value.is_undefined()) return {};
  if (value.is_string()) {
    RETURN_IF_ERROR(runtime.charge(value.text().size()));
    out.append(value.text());
    return {};
  }
  return append_repr(runtime, value, out);
}

Result<TextPtr> to_str(Runtime& runtime, const Value& value) {
  if (value.is_string()) return value.as<TextPtr>();
  TextBuilder out;
  RETURN_IF_ERROR(append_str(runtime, value, out));
  return std::make_shared<const Text>(out.take());
}

}  // namespace glimpse::jinja
