#include "api/tool_call_parser.h"

#include <algorithm>

#include "api/json_writer.h"
#include "processor/partial_tag.h"

namespace glimpse {

namespace {

constexpr std::string_view kCall = "<tool_call>";
constexpr std::string_view kEndCall = "</tool_call>";
constexpr std::string_view kKey = "<arg_key>";
constexpr std::string_view kEndKey = "</arg_key>";
constexpr std::string_view kValue = "<arg_value>";
constexpr std::string_view kEndValue = "</arg_value>";
constexpr std::string_view kSpace = " \t\r\n";
constexpr size_t kMaxHeadBytes = 512;

std::string_view trimmed(std::string_view text) {
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

const json::value* resolve_ref(const json::value& root, std::string_view ref) {
  if (!ref.starts_with("#/")) return nullptr;
  json::error_code failed;
  const json::value* found = root.find_pointer(ref.substr(1), failed);
  return failed ? nullptr : found;
}

struct Kinds {
  bool string = false;
  bool other = false;
};

// Which kinds of value a schema names; neither if it names none.
Kinds kinds_of(const json::value& root, const json::value& schema, int depth) {
  Kinds kinds;
  if (!schema.is_object() || depth > 8) return kinds;
  const json::object& object = schema.get_object();
  const auto add = [&](Kinds more) {
    kinds.string |= more.string;
    kinds.other |= more.other;
  };
  const auto add_type = [&](const json::value& type) { (type == "string" ? kinds.string : kinds.other) = true; };
  if (const json::value* type = find(object, "type"); type != nullptr) {
    if (type->is_string()) add_type(*type);
    if (type->is_array()) std::for_each(type->get_array().begin(), type->get_array().end(), add_type);
    return kinds;
  }
  if (const json::value* values = find(object, "enum"); values != nullptr && values->is_array()) {
    for (const json::value& value : values->get_array()) (value.is_string() ? kinds.string : kinds.other) = true;
    return kinds;
  }
  if (const json::value* value = find(object, "const"); value != nullptr) {
    (value->is_string() ? kinds.string : kinds.other) = true;
    return kinds;
  }
  if (const json::value* ref = find(object, "$ref"); ref != nullptr && ref->is_string()) {
    if (const json::value* target = resolve_ref(root, ref->get_string())) add(kinds_of(root, *target, depth + 1));
  }
  for (const std::string_view key : {"anyOf", "oneOf", "allOf"}) {
    const json::value* branches = find(object, key);
    if (branches == nullptr || !branches->is_array()) continue;
    for (const json::value& branch : branches->get_array()) add(kinds_of(root, branch, depth + 1));
  }
  return kinds;
}

}  // namespace

ToolCallParser::ValueType ToolCallParser::type_of(std::string_view key) const {
  const ToolSet::Function* function = tools_->find(name_);
  if (function == nullptr || !function->parameters.is_object()) return ValueType::kEither;
  const json::value* properties = glimpse::find(function->parameters.get_object(), "properties");
  const json::value* schema =
      properties != nullptr && properties->is_object() ? glimpse::find(properties->get_object(), key) : nullptr;
  if (schema == nullptr) return ValueType::kEither;
  const Kinds kinds = kinds_of(function->parameters, *schema, 0);
  if (kinds.string == kinds.other) return ValueType::kEither;
  return kinds.string ? ValueType::kString : ValueType::kJson;
}

void ToolCallParser::push(std::string_view text, ToolParserOutput& out) {
  held_ += text;
  while (step(false, out)) {
  }
}

void ToolCallParser::finish(ToolParserOutput& out) {
  while (step(true, out)) {
  }
  if (num_calls_ == 0) out.content += spaces_;
  spaces_.clear();
}

// One step; false when more text is needed (at the end: when nothing is left to do).
bool ToolCallParser::step(bool is_end, ToolParserOutput& out) {
  switch (state_) {
    case State::kText:
      return text(is_end, out);
    case State::kHead:
      return head(is_end, out);
    case State::kJson:
      return whole_json(is_end, out);
    case State::kArguments:
      return arguments(is_end, out);
    case State::kKey:
      return key(is_end, out);
    case State::kValueTag:
      return value_tag(is_end, out);
    case State::kValue:
      return value(is_end, out);
  }
  return false;
}

void ToolCallParser::emit_content(std::string_view text, ToolParserOutput& out) {
  const size_t last = text.find_last_not_of(kSpace);
  if (last == std::string_view::npos) {
    spaces_ += text;
    return;
  }
  out.content += spaces_;
  out.content += text.substr(0, last + 1);
  spaces_ = text.substr(last + 1);
}

bool ToolCallParser::text(bool is_end, ToolParserOutput& out) {
  // A closing tag without a call is left over from one that was broken off.
  const size_t begin = held_.find(kCall);
  const size_t stray = num_calls_ > 0 ? held_.find(kEndCall) : std::string::npos;
  if (const size_t at = std::min(begin, stray); at != std::string::npos) {
    emit_content(std::string_view(held_).substr(0, at), out);
    if (stray < begin) {
      held_.erase(0, at + kEndCall.size());
      return true;
    }
    held_.erase(0, at + kCall.size());
    state_ = State::kHead;
    return true;
  }
  size_t keep = 0;
  if (!is_end) {
    keep = partial_tag(held_, kCall);
    if (num_calls_ > 0) keep = std::max(keep, partial_tag(held_, kEndCall));
  }
  emit_content(std::string_view(held_).substr(0, held_.size() - keep), out);
  held_.erase(0, held_.size() - keep);
  return false;
}

// Behind "<tool_call>": a name and what follows it, or JSON. Nothing is passed on before it is clear which.
bool ToolCallParser::head(bool is_end, ToolParserOutput& out) {
  const std::string_view held = held_;
  const size_t first = held.find_first_not_of(kSpace);
  if (first != std::string_view::npos && held[first] == '{') {
    name_.clear();
    state_ = State::kJson;
    return true;
  }
  const size_t name_end = held.find_first_of("\n<{");
  if (name_end != std::string_view::npos && first != std::string_view::npos && name_end > first) {
    const std::string_view name = trimmed(held.substr(0, name_end));
    if (tools_->find(name) == nullptr) {
      give_up(out);
      return true;
    }
    const std::string_view rest = held.substr(std::min(held.size(), held.find_first_not_of(kSpace, name_end)));
    if (rest.starts_with('{')) {
      name_ = name;
      state_ = State::kJson;
      return true;
    }
    if (rest.starts_with(kKey) || rest.starts_with(kEndCall)) {
      begin_call(name, out);
      held_.erase(0, held.size() - rest.size());
      state_ = State::kArguments;
      return true;
    }
    if (is_end || !(kKey.starts_with(rest) || kEndCall.starts_with(rest))) {
      give_up(out);
      return true;
    }
    return false;
  }
  if (is_end || held.size() > kMaxHeadBytes || (name_end != std::string_view::npos && held[name_end] == '<')) {
    give_up(out);
    return true;
  }
  return false;
}

// The call up to its closing tag, when it is JSON: {"name", "arguments"}, or name_ and then the arguments.
bool ToolCallParser::whole_json(bool is_end, ToolParserOutput& out) {
  size_t end = held_.find(kEndCall);
  if (end == std::string::npos && !is_end) return false;
  end = std::min(end, held_.size());
  const std::string_view body = std::string_view(held_).substr(0, end);
  const auto parsed = parse_json(name_.empty() ? trimmed(body) : trimmed(body.substr(body.find('{'))));
  std::string name = name_;
  const json::value* given = parsed && parsed->is_object() ? &*parsed : nullptr;
  if (given != nullptr && name_.empty()) {
    const json::value* named = glimpse::find(parsed->get_object(), "name");
    if (named != nullptr && named->is_string()) name = std::string(named->get_string());
    given = glimpse::find(parsed->get_object(), "arguments");
    if (given == nullptr) given = glimpse::find(parsed->get_object(), "parameters");
  }
  if (!parsed || tools_->find(name) == nullptr || (given != nullptr && !given->is_object())) {
    give_up(out);
    return true;
  }
  begin_call(name, out);
  delta(out).arguments += given == nullptr ? "{}" : to_text(*given);
  num_arguments_ = -1;  // complete
  held_.erase(0, std::min(held_.size(), end + kEndCall.size()));
  state_ = State::kText;
  return true;
}

bool ToolCallParser::arguments(bool is_end, ToolParserOutput& out) {
  held_.erase(0, std::min(held_.size(), held_.find_first_not_of(kSpace)));
  if (held_.starts_with(kKey)) {
    held_.erase(0, kKey.size());
    state_ = State::kKey;
    return true;
  }
  if (held_.starts_with(kEndCall)) {
    held_.erase(0, kEndCall.size());
    close_call(out);
    return true;
  }
  if (!is_end && (kKey.starts_with(held_) || kEndCall.starts_with(held_))) return false;
  close_call(out);  // what follows is no argument: it is text
  return true;
}

bool ToolCallParser::key(bool is_end, ToolParserOutput& out) {
  const size_t end = held_.find(kEndKey);
  if (end != std::string::npos) {
    key_ = trimmed(std::string_view(held_).substr(0, end));
    held_.erase(0, end + kEndKey.size());
    state_ = State::kValueTag;
    return true;
  }
  if (!is_end && held_.size() <= kMaxHeadBytes) return false;
  close_call(out);
  return true;
}

bool ToolCallParser::value_tag(bool is_end, ToolParserOutput& out) {
  held_.erase(0, std::min(held_.size(), held_.find_first_not_of(kSpace)));
  if (held_.starts_with(kValue)) {
    held_.erase(0, kValue.size());
    value_type_ = type_of(key_);
    std::string opening = num_arguments_ == 0 ? "{" : ", ";
    append_json_string(key_, opening);
    opening += ": ";
    if (value_type_ == ValueType::kString) opening += '"';
    append_arguments(opening, out);
    ++num_arguments_;
    state_ = State::kValue;
    return true;
  }
  if (!is_end && kValue.starts_with(held_)) return false;
  held_.insert(0, key_);  // a key without a value: its text, then what follows
  close_call(out);
  return true;
}

bool ToolCallParser::value(bool is_end, ToolParserOutput& out) {
  const size_t end = held_.find(kEndValue);
  const bool complete = end != std::string::npos || is_end;
  if (value_type_ == ValueType::kString) {
    const size_t ready = end != std::string::npos ? end : held_.size() - (is_end ? 0 : partial_tag(held_, kEndValue));
    if (ready == 0 && !complete) return false;
    std::string escaped;
    append_json_escaped(std::string_view(held_).substr(0, ready), escaped);
    if (complete) escaped += '"';
    if (!escaped.empty()) append_arguments(escaped, out);
    held_.erase(0, ready);
  } else {
    if (!complete) return false;
    const std::string_view raw = std::string_view(held_).substr(0, end);
    const auto parsed = parse_json(trimmed(raw));
    // A quoted string where any type may be is the writer's own quotes.
    const bool is_json = parsed && !(parsed->is_string() && value_type_ == ValueType::kEither);
    std::string written;
    if (is_json) {
      written = trimmed(raw);
    } else {
      append_json_string(raw, written);
    }
    append_arguments(written, out);
    held_.erase(0, raw.size());
  }
  if (!complete) return false;
  held_.erase(0, std::min(held_.size(), kEndValue.size()));
  state_ = State::kArguments;
  return true;
}

void ToolCallParser::begin_call(std::string_view name, ToolParserOutput& out) {
  name_ = name;
  spaces_.clear();
  num_arguments_ = 0;
  out.calls.push_back({num_calls_++, name_, {}});
}

void ToolCallParser::close_call(ToolParserOutput& out) {
  append_arguments(num_arguments_ == 0 ? "{}" : "}", out);
  state_ = State::kText;
}

// No call after all: everything read of it is content.
void ToolCallParser::give_up(ToolParserOutput& out) {
  emit_content(kCall, out);
  state_ = State::kText;
}

ToolCallDelta& ToolCallParser::delta(ToolParserOutput& out) {
  const int index = num_calls_ - 1;
  if (out.calls.empty() || out.calls.back().index != index) out.calls.push_back({index, {}, {}});
  return out.calls.back();
}

void ToolCallParser::append_arguments(std::string_view json, ToolParserOutput& out) {
  delta(out).arguments += json;
}

}  // namespace glimpse
