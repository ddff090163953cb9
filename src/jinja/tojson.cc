#include "jinja/tojson.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "jinja/merge_sort.h"

namespace glimpse::jinja {

namespace {

std::string json_string(std::string_view bytes, bool ensure_ascii) {
  std::string out = "\"";
  char escape[16];
  for (size_t at = 0; at < bytes.size();) {
    const CodePoint c = code_point_at(bytes, at);
    static constexpr std::string_view kFrom = "\"\\\n\r\t\b\f";
    static constexpr std::string_view kTo = "\"\\nrtbf";
    const size_t simple = kFrom.find(bytes[at]);
    if (simple != std::string_view::npos) {
      out += '\\';
      out += kTo[simple];
    } else if (c.value < 0x20 || (ensure_ascii && c.value > 0x7E && c.value < 0x10000)) {
      // Python's ensure_ascii leaves 0x7F alone.
      if (c.value == 0x7F) {
        out += '\x7F';
      } else {
        std::snprintf(escape, sizeof(escape), "\\u%04x", c.value);
        out += escape;
      }
    } else if (ensure_ascii && c.value >= 0x10000) {
      const uint32_t v = c.value - 0x10000;
      std::snprintf(escape, sizeof(escape), "\\u%04x\\u%04x", 0xD800 + (v >> 10), 0xDC00 + (v & 0x3FF));
      out += escape;
    } else {
      out += bytes.substr(at, c.bytes);
    }
    at += c.bytes;
  }
  return out + '"';
}

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

class Writer {
 public:
  Writer(Runtime& runtime, bool ensure_ascii, bool sort_keys)
      : runtime_(runtime), ensure_ascii_(ensure_ascii), sort_keys_(sort_keys) {}

  std::optional<std::string> indent;
  std::string item_separator = ", ";
  std::string key_separator = ": ";

  Status write(const Value& value, int level) {
    RETURN_IF_ERROR(runtime_.step());
    const size_t before = out.size();
    if (value.is_string()) {
      RETURN_IF_ERROR(write_string(value.text()));
    } else if (value.is<DictPtr>()) {
      return write_dict(*value.as<DictPtr>(), level);
    } else if (value.is<SeqPtr>() &&
               (value.as<SeqPtr>()->kind == Seq::Kind::kList || value.as<SeqPtr>()->kind == Seq::Kind::kTuple)) {
      return write_list(*value.as<SeqPtr>(), level);
    } else if (value.is_none()) {
      out.append("null");
    } else if (value.is<bool>()) {
      out.append(value.as<bool>() ? "true" : "false");
    } else if (value.is<int64_t>()) {
      out.append(std::to_string(value.as<int64_t>()));
    } else if (value.is<double>()) {
      out.append(json_float(value.as<double>()));
    } else {
      return type_error("Object of type " + type_name(value) + " is not JSON serializable");
    }
    return runtime_.charge_growth(out, before);
  }

  TextBuilder out;

 private:
  Status write_string(const Text& text) {
    RETURN_IF_ERROR(runtime_.charge(text.size()));
    out.append(json_string(text.bytes, ensure_ascii_), text.is_untrusted());
    return {};
  }

  Status new_line(int level) {
    if (!indent.has_value()) return {};
    RETURN_IF_ERROR(runtime_.charge(1 + indent->size() * static_cast<size_t>(level)));
    out.append("\n");
    for (int i = 0; i < level; ++i) out.append(*indent);
    return {};
  }

  Status write_list(const Seq& seq, int level) {
    out.append("[");
    for (size_t i = 0; i < seq.items.size(); ++i) {
      if (i > 0) out.append(item_separator);
      RETURN_IF_ERROR(new_line(level + 1));
      RETURN_IF_ERROR(write(seq.items[i], level + 1));
    }
    if (!seq.items.empty()) RETURN_IF_ERROR(new_line(level));
    out.append("]");
    return runtime_.charge(seq.items.size() * item_separator.size() + 2);
  }

  Status write_key(const Value& key) {
    if (key.is_string()) return write_string(key.text());
    const auto quoted = [&](const std::string& text) { out.append("\"" + text + "\""); };
    if (key.is_none()) {
      quoted("null");
    } else if (key.is<bool>()) {
      quoted(key.as<bool>() ? "true" : "false");
    } else if (key.is<int64_t>()) {
      quoted(std::to_string(key.as<int64_t>()));
    } else if (key.is<double>()) {
      quoted(json_float(key.as<double>()));
    } else {
      return type_error("keys must be str, int, float, bool or None, not " + type_name(key));
    }
    return runtime_.charge(32);
  }

  Status write_dict(const Dict& dict, int level) {
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.items) entries.push_back(&entry);
    if (sort_keys_) {
      Status failed;
      merge_sort(entries, [&](const auto* a, const auto* b) {
        const auto order = compare(runtime_, a->first, b->first);
        if (!order) failed = order.error();
        return order && *order == -1;
      });
      RETURN_IF_ERROR(failed);
    }
    out.append("{");
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out.append(item_separator);
      RETURN_IF_ERROR(new_line(level + 1));
      RETURN_IF_ERROR(write_key(entries[i]->first));
      out.append(key_separator);
      RETURN_IF_ERROR(write(entries[i]->second, level + 1));
    }
    if (!entries.empty()) RETURN_IF_ERROR(new_line(level));
    out.append("}");
    return runtime_.charge(entries.size() * (item_separator.size() + key_separator.size()) + 2);
  }

  Runtime& runtime_;
  const bool ensure_ascii_;
  const bool sort_keys_;
};

}  // namespace

Result<Value> tojson(Runtime& runtime, const Value& value, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  Writer writer(runtime, bound[0] != nullptr && truthy(*bound[0]), bound[3] != nullptr && truthy(*bound[3]));
  if (bound[1] != nullptr && !bound[1]->is_none()) {
    writer.item_separator = ",";
    if (bound[1]->is_string()) {
      writer.indent = bound[1]->text().bytes;
    } else if (bound[1]->is_int()) {
      writer.indent = std::string(static_cast<size_t>(std::clamp<int64_t>(bound[1]->integer(), 0, 64)), ' ');
    } else {
      return type_error("tojson() indent must be an integer or a string");
    }
    if (writer.indent->size() > 64) return Error{ErrorCode::kTooLarge, "tojson() indent of more than 64 bytes"};
  }
  if (bound[2] != nullptr && !bound[2]->is_none()) {
    ASSIGN_OR_RETURN(const SeqPtr pair, iterate(runtime, *bound[2]));
    if (pair->items.size() != 2 || !pair->items[0].is_string() || !pair->items[1].is_string()) {
      return type_error("tojson() separators must be two strings");
    }
    writer.item_separator = pair->items[0].text().bytes;
    writer.key_separator = pair->items[1].text().bytes;
    if (writer.item_separator.size() + writer.key_separator.size() > 64) {
      return Error{ErrorCode::kTooLarge, "tojson() separators of more than 64 bytes"};
    }
    if (pair->items[0].text().is_untrusted() || pair->items[1].text().is_untrusted()) {
      return type_error("tojson() separators must come from the template");
    }
  }
  if (bound[1] != nullptr && bound[1]->is_string() && bound[1]->text().is_untrusted()) {
    return type_error("tojson() indent must come from the template");
  }
  RETURN_IF_ERROR(writer.write(value, 0));
  return runtime.string(std::move(writer.out));
}

}  // namespace glimpse::jinja
