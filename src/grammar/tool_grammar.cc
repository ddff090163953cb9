#include "grammar/tool_grammar.h"

#include <algorithm>

#include "base/quote.h"
#include "grammar/regex.h"
#include "grammar/schema_grammar.h"
#include "grammar/schema_merge.h"

namespace glimpse {

namespace {

constexpr std::string_view kEndValue = "</arg_value>";

bool is_string_only(const json::object& schema) {
  const json::value* type = find(schema, "type");
  if (type != nullptr) return *type == "string";
  const json::value* values = find(schema, "enum");
  return values != nullptr && values->is_array() &&
         std::all_of(values->get_array().begin(), values->get_array().end(),
                     [](const json::value& value) { return value.is_string(); });
}

// A value up to and with its closing tag. `root` is what the schema's references refer to.
Result<int32_t> add_value(RuleSet& set, Nfa& nfa, int32_t from, const json::value& root, const json::value& schema) {
  const json::value* at = &schema;
  for (int i = 0; i < 16 && at->is_object() && find(at->get_object(), "$ref") != nullptr; ++i) {
    const json::value* ref = find(at->get_object(), "$ref");
    if (!ref->is_string()) break;
    ASSIGN_OR_RETURN(at, resolve_ref(root, ref->get_string()));
  }
  const json::object none;
  const json::object& object = at->is_object() ? at->get_object() : none;
  if (is_string_only(object)) {
    if (const json::value* values = find(object, "enum"); values != nullptr && values->is_array()) {
      std::vector<std::string> texts;
      for (const json::value& value : values->get_array()) {
        if (value.is_string()) texts.emplace_back(value.get_string());
      }
      return nfa.add_text(nfa.add_texts(from, texts), kEndValue);
    }
    if (const json::value* value = find(object, "const"); value != nullptr && value->is_string()) {
      return nfa.add_text(nfa.add_text(from, value->get_string()), kEndValue);
    }
    if (const json::value* pattern = find(object, "pattern"); pattern != nullptr && pattern->is_string()) {
      ASSIGN_OR_RETURN(const int32_t end,
                       add_regex(nfa, from, pattern->get_string(), RegexText::kPlain, RegexAnchors::kSearched));
      return nfa.add_text(end, kEndValue);
    }
    return nfa.add_call(from, kToolTextRule);
  }
  if (object.empty()) return nfa.add_call(from, kToolTextRule);
  // References inside the value are resolved against the tool's whole schema.
  json::object whole = at->get_object();
  for (const std::string_view key : {"$defs", "definitions"}) {
    if (const json::value* definitions = root.is_object() ? find(root.get_object(), key) : nullptr) {
      whole.emplace(key, *definitions);
    }
  }
  ASSIGN_OR_RETURN(const int32_t rule, add_schema_rule(set, json::value(std::move(whole))));
  return nfa.add_text(nfa.add_call(from, rule), kEndValue);
}

Result<int32_t> add_arguments(RuleSet& set, Nfa& nfa, int32_t from, const json::value& schema) {
  const json::value* properties = schema.is_object() ? find(schema.get_object(), "properties") : nullptr;
  if (properties == nullptr || !properties->is_object()) {
    const json::value* others = schema.is_object() ? find(schema.get_object(), "additionalProperties") : nullptr;
    if (schema.is_object() && (others == nullptr || *others == false)) return from;  // a tool without arguments
    const int32_t loop = nfa.add_state();
    nfa.add_free(from, loop);
    const int32_t key = nfa.add_text(loop, "<arg_key>");
    ASSIGN_OR_RETURN(const int32_t named,
                     add_regex(nfa, key, "[A-Za-z_][A-Za-z0-9_]{0,63}", RegexText::kPlain, RegexAnchors::kImplied));
    const int32_t value = nfa.add_call(nfa.add_text(named, "</arg_key>\n<arg_value>"), kToolTextRule);
    nfa.add_free(nfa.add_text(value, "\n"), loop);
    return loop;
  }
  const json::value* required = find(schema.get_object(), "required");
  for (const auto& [name, each] : properties->get_object()) {
    const int32_t begin = nfa.add_text(from, "<arg_key>" + std::string(name) + "</arg_key>\n<arg_value>");
    ASSIGN_OR_RETURN(const int32_t value, add_value(set, nfa, begin, schema, each));
    const int32_t end = nfa.add_text(value, "\n");
    const std::string_view wanted = name;
    const bool needed = required != nullptr && required->is_array() &&
                        std::any_of(required->get_array().begin(), required->get_array().end(),
                                    [&](const json::value& other) { return other == json::string(wanted); });
    if (needed) {
      from = end;
      continue;
    }
    const int32_t next = nfa.add_state();
    nfa.add_free(from, next);
    nfa.add_free(end, next);
    from = next;
  }
  return from;
}

}  // namespace

Result<int32_t> add_tool_calls_rule(RuleSet& set, const std::vector<std::pair<std::string, json::value>>& tools,
                                    bool several) {
  Nfa nfa;
  const int32_t begin = nfa.add_text(0, "<tool_call>");
  const int32_t end = nfa.add_state();
  for (const auto& [name, schema] : tools) {
    auto made = add_arguments(set, nfa, nfa.add_text(begin, name + "\n"), schema);
    if (!made) return std::move(made).error().in("tool " + in_quotes(name, 60));
    nfa.add_free(nfa.add_text(*made, "</tool_call>"), end);
  }
  if (several) nfa.add_free(nfa.add_text(end, "\n"), 0);
  ASSIGN_OR_RETURN(RuleDfa rule, determinize(nfa, end));
  return set.add(std::move(rule));
}

}  // namespace glimpse
