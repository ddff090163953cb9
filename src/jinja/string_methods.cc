#include <algorithm>
#include <functional>
#include <optional>

#include "jinja/access.h"
#include "jinja/string_ops.h"

namespace glimpse::jinja {

namespace {

Result<const Text*> text_argument(std::string_view method, const Value* value) {
  if (value == nullptr || !value->is_string()) {
    return type_error(std::string(method) + "() needs a string, not '" +
                      (value == nullptr ? "nothing" : type_name(*value)) + "'");
  }
  return &value->text();
}

Result<int64_t> int_argument(std::string_view method, const Value* value, int64_t fallback) {
  if (value == nullptr) return fallback;
  if (!value->is_int()) return type_error(std::string(method) + "() needs an integer, not '" + type_name(*value) + "'");
  return value->integer();
}

// The bytes that the optional code point positions start and end of find(), count(), startswith() … mean. Nothing if
// start lies behind the end of the string, where Python finds not even the empty string.
Result<std::optional<ByteRange>> window(const Text& text, const Value* start, const Value* end) {
  for (const Value* bound : {start, end}) {
    if (bound != nullptr && !bound->is_none() && !bound->is_int())
      return type_error("slice indices must be integers or None");
  }
  if (start == nullptr && end == nullptr) return std::optional<ByteRange>({0, text.size()});
  const auto length = static_cast<int64_t>(text.length());
  const auto clip = [&](const Value* bound, int64_t fallback) {
    if (bound == nullptr || bound->is_none()) return fallback;
    int64_t at = bound->integer();
    if (at < 0) at = std::max<int64_t>(at < -length ? 0 : at + length, 0);
    return at;
  };
  const int64_t from = clip(start, 0);
  const int64_t to = std::min(clip(end, length), length);
  if (from > length || from > to) return std::optional<ByteRange>();
  return std::optional<ByteRange>(
      {text.byte_offset(static_cast<size_t>(from)), text.byte_offset(static_cast<size_t>(to))});
}

int64_t code_point_index(const Text& text, size_t byte) {
  if (text.ascii) return static_cast<int64_t>(byte);
  int64_t index = 0;
  for (size_t at = 0; at < byte; at += code_point_at(text.bytes, at).bytes) ++index;
  return index;
}

Result<Value> find_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"sub", "start", "end"}, 1));
  ASSIGN_OR_RETURN(const Text* sub, text_argument(name, bound[0]));
  ASSIGN_OR_RETURN(const auto range, window(text, bound[1], bound[2]));
  RETURN_IF_ERROR(runtime.scan(text.size() + sub->size()));
  if (name == "count") return Value(range.has_value() ? count_occurrences(text, *sub, *range) : int64_t{0});
  size_t found = std::string_view::npos;
  if (range.has_value()) {
    const std::string_view inside = text.view().substr(range->begin, range->end - range->begin);
    found = name[0] == 'r' ? rfind_bytes(inside, sub->view()) : find_bytes(inside, sub->view(), 0);
    if (found != std::string_view::npos) found += range->begin;
  }
  if (found != std::string_view::npos) return Value(code_point_index(text, found));
  if (name.ends_with("index")) return type_error("substring not found");
  return Value(int64_t{-1});
}

Result<Value> affix_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"affix", "start", "end"}, 1));
  ASSIGN_OR_RETURN(const auto range, window(text, bound[1], bound[2]));
  std::vector<Value> affixes = {*bound[0]};
  if (bound[0]->is<SeqPtr>() && bound[0]->as<SeqPtr>()->kind == Seq::Kind::kTuple)
    affixes = bound[0]->as<SeqPtr>()->items;
  for (const Value& each : affixes) {
    ASSIGN_OR_RETURN(const Text* affix, text_argument(name, &each));
    RETURN_IF_ERROR(runtime.scan(affix->size()));
    if (!range.has_value()) continue;
    const std::string_view inside = text.view().substr(range->begin, range->end - range->begin);
    if (name == "startswith" ? inside.starts_with(affix->view()) : inside.ends_with(affix->view())) return Value(true);
  }
  return Value(false);
}

Result<Value> strip_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"chars"}));
  std::string_view characters;
  if (bound[0] != nullptr && !bound[0]->is_none()) {
    ASSIGN_OR_RETURN(const Text* chars, text_argument(name, bound[0]));
    if (chars->size() == 0) return runtime.substring(text, 0, text.size());
    if (chars->size() > 1024) return Error{ErrorCode::kTooLarge, "strip() of more than 1024 bytes of characters"};
    RETURN_IF_ERROR(runtime.step(1 + static_cast<int64_t>(text.size() * chars->size() / 256)));
    characters = chars->view();
  }
  const ByteRange kept = strip_range(text.bytes, characters, name != "rstrip", name != "lstrip");
  return runtime.substring(text, kept.begin, kept.end);
}

Result<Value> split_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const int64_t most, int_argument(name, bound[1], -1));
  const bool from_right = name == "rsplit";
  if (bound[0] == nullptr || bound[0]->is_none()) return split_spaces(runtime, text, most, from_right);
  ASSIGN_OR_RETURN(const Text* separator, text_argument(name, bound[0]));
  if (separator->size() == 0) return type_error("empty separator");
  return split_at(runtime, text, separator->view(), most, from_right);
}

Result<Value> partition_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"sep"}, 1));
  ASSIGN_OR_RETURN(const Text* separator, text_argument(name, bound[0]));
  if (separator->size() == 0) return type_error("empty separator");
  const bool from_right = name == "rpartition";
  const size_t at =
      from_right ? rfind_bytes(text.view(), separator->view()) : find_bytes(text.view(), separator->view(), 0);
  size_t cuts[2] = {from_right ? 0 : text.size(), from_right ? 0 : text.size()};
  if (at != std::string_view::npos) {
    cuts[0] = at;
    cuts[1] = at + separator->size();
  }
  ASSIGN_OR_RETURN(Value before, runtime.substring(text, 0, cuts[0]));
  ASSIGN_OR_RETURN(Value middle, runtime.substring(text, cuts[0], cuts[1]));
  ASSIGN_OR_RETURN(Value after, runtime.substring(text, cuts[1], text.size()));
  return runtime.seq(Seq::Kind::kTuple, {std::move(before), std::move(middle), std::move(after)});
}

Result<Value> pad_method(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"width", "fillchar"}, 1));
  ASSIGN_OR_RETURN(const int64_t width, int_argument(name, bound[0], 0));
  TextPtr fill = trusted_text(name == "zfill" ? "0" : " ");
  if (bound[1] != nullptr) {
    ASSIGN_OR_RETURN(const Text* given, text_argument(name, bound[1]));
    if (given->length() != 1) return type_error("the fill character must be exactly one character long");
    fill = bound[1]->as<TextPtr>();
  }
  return pad(runtime, text, name, width, *fill);
}

Result<Value> join_method(Runtime& runtime, const Text& separator, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("join", args, {"iterable"}, 1));
  ASSIGN_OR_RETURN(const SeqPtr items, iterate(runtime, *bound[0]));
  TextBuilder builder;
  for (size_t i = 0; i < items->items.size(); ++i) {
    ASSIGN_OR_RETURN(const Text* item, text_argument("join", &items->items[i]));
    RETURN_IF_ERROR(runtime.charge(item->size() + separator.size()));
    RETURN_IF_ERROR(runtime.step());
    if (i > 0) builder.append(separator);
    builder.append(*item);
  }
  return runtime.string(std::move(builder));
}

Result<Value> replace_method(Runtime& runtime, const Text& text, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind("replace", args, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const Text* from, text_argument("replace", bound[0]));
  ASSIGN_OR_RETURN(const Text* to, text_argument("replace", bound[1]));
  ASSIGN_OR_RETURN(const int64_t count, int_argument("replace", bound[2], -1));
  return replace(runtime, text, *from, *to, count);
}

Result<Value> affix_removal(Runtime& runtime, const Text& text, std::string_view name, const Args& args) {
  ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"affix"}, 1));
  ASSIGN_OR_RETURN(const Text* affix, text_argument(name, bound[0]));
  if (name == "removeprefix") {
    return runtime.substring(text, text.view().starts_with(affix->view()) ? affix->size() : 0, text.size());
  }
  return runtime.substring(text, 0, text.size() - (text.view().ends_with(affix->view()) ? affix->size() : 0));
}

}  // namespace

Result<Value> call_string_method(Runtime& runtime, const TextPtr& receiver, std::string_view name, const Args& args) {
  const Text& text = *receiver;
  if (name == "strip" || name == "lstrip" || name == "rstrip") return strip_method(runtime, text, name, args);
  if (name == "split" || name == "rsplit") return split_method(runtime, text, name, args);
  if (name == "startswith" || name == "endswith") return affix_method(runtime, text, name, args);
  if (name == "replace") return replace_method(runtime, text, args);
  if (name == "join") return join_method(runtime, text, args);
  if (name == "find" || name == "rfind" || name == "index" || name == "rindex" || name == "count") {
    return find_method(runtime, text, name, args);
  }
  if (name == "partition" || name == "rpartition") return partition_method(runtime, text, name, args);
  if (name == "removeprefix" || name == "removesuffix") return affix_removal(runtime, text, name, args);
  if (name == "center" || name == "ljust" || name == "rjust" || name == "zfill")
    return pad_method(runtime, text, name, args);
  if (name == "format") return brace_format(runtime, text, args);
  if (name == "splitlines") {
    ASSIGN_OR_RETURN(const auto bound, bind(name, args, {"keepends"}));
    return split_lines(runtime, text, bound[0] != nullptr && truthy(*bound[0]));
  }
  if (name == "expandtabs") return Error{ErrorCode::kUnsupported, "str.expandtabs is not supported"};
  RETURN_IF_ERROR(bind(name, args, {}).has_value() ? Status()
                                                   : Status(type_error(std::string(name) + "() takes no arguments")));
  if (const std::optional<bool> answer = classify(text, name)) return Value(*answer);
  return change_case(runtime, text, name);
}

}  // namespace glimpse::jinja
