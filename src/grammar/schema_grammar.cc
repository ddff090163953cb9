#include "grammar/schema_grammar.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>

#include "base/quote.h"
#include "grammar/schema_merge.h"
#include "grammar/schema_scalars.h"

namespace glimpse {

namespace {

constexpr int kMaxDepth = 64;
constexpr size_t kMaxBranches = 256;
constexpr size_t kMaxSchemas = 20000;
constexpr size_t kMaxRules = 4096;
constexpr size_t kMaxProperties = 1000;

constexpr std::array<std::string_view, 27> kKeywords = {"type",
                                                        "enum",
                                                        "const",
                                                        "properties",
                                                        "required",
                                                        "additionalProperties",
                                                        "propertyNames",
                                                        "minProperties",
                                                        "maxProperties",
                                                        "items",
                                                        "prefixItems",
                                                        "minItems",
                                                        "maxItems",
                                                        "minLength",
                                                        "maxLength",
                                                        "pattern",
                                                        "format",
                                                        "minimum",
                                                        "maximum",
                                                        "exclusiveMinimum",
                                                        "exclusiveMaximum",
                                                        "multipleOf",
                                                        "anyOf",
                                                        "oneOf",
                                                        "allOf",
                                                        "$ref",
                                                        "uniqueItems"};

bool has_type(const json::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (type == "number") return value.is_number();
  if (type == "integer") {
    return value.is_int64() || value.is_uint64() ||
           (value.is_double() && value.get_double() == static_cast<double>(static_cast<int64_t>(value.get_double())));
  }
  return false;
}

class Compiler {
 public:
  Compiler(RuleSet& set, const json::value& root) : set_(set), root_(root) {}

  // The rule of a schema: its own, a shared one, or that of what it refers to.
  Result<int32_t> rule_of(const json::value& schema, int depth) {
    if (set_.rules.size() > kMaxRules) return Error{ErrorCode::kTooLarge, "the schema is too large"};
    Nfa nfa;
    ASSIGN_OR_RETURN(const int32_t end, add(nfa, 0, schema, depth));
    // Nothing but one call: that rule itself.
    if (nfa.size() == 2 && end == 1 && nfa.states()[0].calls.size() == 1 && nfa.states()[0].bytes.empty() &&
        nfa.states()[0].free.empty()) {
      return nfa.states()[0].calls[0].rule;
    }
    ASSIGN_OR_RETURN(RuleDfa rule, determinize(nfa, end));
    return set_.add(std::move(rule));
  }

 private:
  Result<int32_t> add(Nfa& nfa, int32_t from, const json::value& schema, int depth) {
    if (depth > kMaxDepth) return Error{ErrorCode::kTooLarge, "the schema is nested too deeply"};
    if (++num_schemas_ > kMaxSchemas || set_.work > kMaxRuleWork)
      return Error{ErrorCode::kTooLarge, "the schema is too large"};
    if (schema == true) return nfa.add_call(from, kAnyValueRule);
    if (schema == false) return nfa.add_state();  // leads nowhere
    if (!schema.is_object()) return Error{ErrorCode::kInvalidArgument, "a schema must be an object, true or false"};
    const json::object& object = schema.get_object();
    bool only_ref = true;
    for (const auto& [key, value] : object) {
      if (is_annotation(key) || key == "$ref") continue;
      only_ref = false;
      if (std::find(kKeywords.begin(), kKeywords.end(), std::string_view(key)) == kKeywords.end()) {
        return unsupported_keyword(key);
      }
    }
    if (const json::value* ref = find(object, "$ref")) {
      if (!ref->is_string()) return bad_keyword("$ref", "must be a string");
      if (only_ref) return referred(nfa, from, ref->get_string(), depth);
      return merged(nfa, from, json::value(true), schema, depth);
    }
    if (const json::value* all = find(object, "allOf")) {
      if (!all->is_array()) return bad_keyword("allOf", "must be a list");
      json::object rest = object;
      rest.erase("allOf");
      json::value sum(std::move(rest));
      for (const json::value& branch : all->get_array()) {
        ASSIGN_OR_RETURN(sum, merge_schemas(root_, sum, branch));
      }
      return add(nfa, from, keep(std::move(sum)), depth + 1);
    }
    for (const std::string_view keyword : {"anyOf", "oneOf"}) {
      if (const json::value* branches = find(object, keyword)) {
        return alternatives(nfa, from, object, keyword, *branches, depth);
      }
    }
    if (object.contains("const") || object.contains("enum")) return literals(nfa, from, object);
    return typed(nfa, from, object, depth);
  }

  const json::value& keep(json::value&& value) { return kept_.emplace_back(std::move(value)); }

  Result<int32_t> merged(Nfa& nfa, int32_t from, const json::value& a, const json::value& b, int depth) {
    ASSIGN_OR_RETURN(json::value both, merge_schemas(root_, a, b));
    if (const json::value* ref = both.is_object() ? find(both.get_object(), "$ref") : nullptr; ref != nullptr) {
      json::object rest = both.get_object();
      rest.erase("$ref");
      ASSIGN_OR_RETURN(const json::value* target, resolve_ref(root_, ref->is_string() ? ref->get_string() : ""));
      ASSIGN_OR_RETURN(both, merge_schemas(root_, *target, json::value(std::move(rest))));
    }
    return add(nfa, from, keep(std::move(both)), depth + 1);
  }

  Result<int32_t> referred(Nfa& nfa, int32_t from, std::string_view ref, int depth) {
    const auto known = refs_.find(std::string(ref));
    if (known != refs_.end()) return nfa.add_call(from, known->second);
    ASSIGN_OR_RETURN(const json::value* target, resolve_ref(root_, ref));
    const int32_t rule = set_.reserve();
    refs_.emplace(std::string(ref), rule);
    Nfa own;
    ASSIGN_OR_RETURN(const int32_t end, add(own, 0, *target, depth + 1));
    ASSIGN_OR_RETURN(RuleDfa made, determinize(own, end));
    set_.set(rule, std::move(made));
    return nfa.add_call(from, rule);
  }

  Result<int32_t> alternatives(Nfa& nfa, int32_t from, const json::object& object, std::string_view keyword,
                               const json::value& branches, int depth) {
    if (!branches.is_array() || branches.get_array().empty())
      return bad_keyword(keyword, "must be a list that is not empty");
    json::object rest;
    for (const auto& [key, value] : object) {
      if (key != keyword && !is_annotation(key)) rest.emplace(key, value);
    }
    std::vector<std::string> constants;
    if (rest.empty() && only_constants(branches.get_array(), constants)) return nfa.add_texts(from, constants);
    if (branches.get_array().size() > kMaxBranches) {
      return Error{ErrorCode::kTooLarge, "the schema's " + in_quotes(keyword) + " has " +
                                             std::to_string(branches.get_array().size()) + " branches, at most " +
                                             std::to_string(kMaxBranches) + " are supported"};
    }
    const json::value base(std::move(rest));
    std::vector<const json::value*> wholes;
    for (const json::value& branch : branches.get_array()) {
      ASSIGN_OR_RETURN(json::value whole,
                       base.get_object().empty() ? Result<json::value>(branch) : merge_schemas(root_, base, branch));
      if (keyword == "oneOf") {
        ASSIGN_OR_RETURN(whole, with_constants_required(whole));
      }
      wholes.push_back(&keep(std::move(whole)));
    }
    if (keyword == "oneOf") {
      for (size_t i = 0; i < wholes.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          if (!clearly_disjoint(root_, *wholes[i], *wholes[j])) {
            return unsupported_keyword("oneOf",
                                       "has branches that are not told apart by a type or a constant; use anyOf");
          }
        }
      }
    }
    const int32_t end = nfa.add_state();
    for (const json::value* whole : wholes) {
      const int32_t begin = nfa.add_state();
      nfa.add_free(from, begin);
      ASSIGN_OR_RETURN(const int32_t last, add(nfa, begin, *whole, depth + 1));
      nfa.add_free(last, end);
    }
    return end;
  }

  static bool only_constants(const json::array& branches, std::vector<std::string>& texts) {
    for (const json::value& branch : branches) {
      const json::value* value = branch.is_object() ? branch.get_object().if_contains("const") : nullptr;
      if (value == nullptr) return false;
      for (const auto& [key, ignored] : branch.get_object()) {
        if (key != "const" && key != "type" && !is_annotation(key)) return false;
      }
      texts.push_back(to_text(*value));
    }
    return true;
  }

  // Branches told apart by a constant property need that property to be there.
  Result<json::value> with_constants_required(const json::value& branch) {
    ASSIGN_OR_RETURN(json::value whole, merge_schemas(root_, json::value(true), branch));
    while (whole.is_object() && find(whole.get_object(), "$ref") != nullptr) {
      ASSIGN_OR_RETURN(whole, merge_schemas(root_, json::value(json::object{}), whole));
    }
    const json::value* properties = whole.is_object() ? find(whole.get_object(), "properties") : nullptr;
    if (properties == nullptr || !properties->is_object()) return whole;
    json::array names;
    for (const auto& [name, schema] : properties->get_object()) {
      if (schema.is_object() && (schema.get_object().contains("const") || schema.get_object().contains("enum"))) {
        names.emplace_back(name);
      }
    }
    if (names.empty()) return whole;
    return merge_schemas(root_, whole, json::value(json::object{{"required", std::move(names)}}));
  }

  Result<int32_t> literals(Nfa& nfa, int32_t from, const json::object& object) {
    std::vector<const json::value*> values;
    if (const json::value* value = object.if_contains("const")) {
      values.push_back(value);
    } else {
      const json::value& list = object.at("enum");
      if (!list.is_array()) return bad_keyword("enum", "must be a list");
      for (const json::value& each : list.get_array()) values.push_back(&each);
    }
    std::vector<std::string> texts;
    for (const json::value* value : values) {
      if (const json::value* type = find(object, "type")) {
        const auto fits = [&](const json::value& name) {
          return name.is_string() && has_type(*value, name.get_string());
        };
        const bool any =
            type->is_array() ? std::any_of(type->get_array().begin(), type->get_array().end(), fits) : fits(*type);
        if (!any) continue;
      }
      texts.push_back(to_text(*value));
    }
    if (texts.empty()) return nfa.add_state();
    return nfa.add_texts(from, texts);
  }

  Result<int32_t> typed(Nfa& nfa, int32_t from, const json::object& object, int depth) {
    const json::value* type = find(object, "type");
    if (type == nullptr) return typed_as(nfa, from, implied_type(object), object, depth);
    if (type->is_string()) return typed_as(nfa, from, type->get_string(), object, depth);
    if (!type->is_array() || type->get_array().empty()) return bad_keyword("type", "must be a name or a list of names");
    const int32_t end = nfa.add_state();
    for (const json::value& name : type->get_array()) {
      if (!name.is_string()) return bad_keyword("type", "must be a name or a list of names");
      const int32_t begin = nfa.add_state();
      nfa.add_free(from, begin);
      ASSIGN_OR_RETURN(const int32_t last, typed_as(nfa, begin, name.get_string(), object, depth));
      nfa.add_free(last, end);
    }
    return end;
  }

  // Without a type any would do; the keywords say which is meant.
  static std::string_view implied_type(const json::object& object) {
    const auto any = [&](std::initializer_list<std::string_view> keywords) {
      return std::any_of(keywords.begin(), keywords.end(),
                         [&](std::string_view keyword) { return find(object, keyword) != nullptr; });
    };
    if (any({"properties", "required", "additionalProperties", "propertyNames", "minProperties", "maxProperties"})) {
      return "object";
    }
    if (any({"items", "prefixItems", "minItems", "maxItems", "uniqueItems"})) return "array";
    if (any({"minLength", "maxLength", "pattern", "format"})) return "string";
    if (any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) return "number";
    return "";
  }

  Result<int32_t> typed_as(Nfa& nfa, int32_t from, std::string_view type, const json::object& object, int depth) {
    if (type.empty()) return nfa.add_call(from, kAnyValueRule);
    if (type == "null") return nfa.add_text(from, "null");
    if (type == "boolean") {
      const std::vector<std::string> words = {"false", "true"};
      return nfa.add_texts(from, words);
    }
    if (type == "string") return add_string(set_, nfa, from, object);
    if (type == "integer" || type == "number") return add_number(nfa, from, type == "integer", object);
    if (type == "array") return array(nfa, from, object, depth);
    if (type == "object") return this->object(nfa, from, object, depth);
    return bad_keyword("type", "is " + in_quotes(type, 40) + ", which is no JSON type");
  }

  Result<int32_t> array(Nfa& nfa, int32_t from, const json::object& object, int depth) {
    if (const json::value* unique = find(object, "uniqueItems"); unique != nullptr && *unique != false) {
      return unsupported_keyword("uniqueItems");
    }
    ASSIGN_OR_RETURN(const auto least, count_of(object, "minItems"));
    ASSIGN_OR_RETURN(const auto most, count_of(object, "maxItems"));
    if (least.value_or(0) > most.value_or(kMaxSchemaCount)) return bad_keyword("minItems", "is above maxItems");
    const json::value* items = find(object, "items");
    const json::value* prefix = find(object, "prefixItems");
    if (items != nullptr && items->is_array()) {  // draft 2019's spelling of prefixItems
      prefix = items;
      items = find(object, "additionalItems");
    }
    if (prefix != nullptr) return tuple(nfa, from, *prefix, items, least.value_or(0), most, depth);
    int32_t item = kAnyValueRule;
    if (items != nullptr) {
      ASSIGN_OR_RETURN(item, rule_of(*items, depth + 1));
    }
    const auto min_count = static_cast<uint32_t>(least.value_or(0));
    const auto max_count = most ? static_cast<uint32_t>(*most) : RuleDfa::kUnbounded;
    if (item == kAnyValueRule && min_count == 0 && !most) return nfa.add_call(from, kAnyArrayRule);
    return nfa.add_call(from, set_.add(list_rule('[', item, ']', min_count, max_count)));
  }

  // As many items as the prefix has, or as few or many as the bounds ask for.
  Result<int32_t> tuple(Nfa& nfa, int32_t from, const json::value& prefix, const json::value* items, int64_t least,
                        std::optional<int64_t> most, int depth) {
    if (!prefix.is_array()) return bad_keyword("prefixItems", "must be a list");
    auto count = static_cast<int64_t>(prefix.get_array().size());
    count = std::max(count, least);
    if (most) count = std::min(count, *most);
    if (count > static_cast<int64_t>(kMaxProperties)) return Error{ErrorCode::kTooLarge, "prefixItems is too long"};
    int32_t at = nfa.add_call(nfa.add_text(from, "["), kSpaceRule);
    for (int64_t i = 0; i < count; ++i) {
      if (i > 0) at = nfa.add_call(nfa.add_text(nfa.add_call(at, kSpaceRule), ","), kSpaceRule);
      const auto index = static_cast<size_t>(i);
      int32_t rule = kAnyValueRule;
      if (index < prefix.get_array().size()) {
        ASSIGN_OR_RETURN(rule, rule_of(prefix.get_array()[index], depth + 1));
      } else if (items != nullptr) {
        ASSIGN_OR_RETURN(rule, rule_of(*items, depth + 1));
      }
      at = nfa.add_call(at, rule);
    }
    if (count > 0) at = nfa.add_call(at, kSpaceRule);
    return nfa.add_text(at, "]");
  }

  struct Property {
    std::string name;
    const json::value* schema;
    bool required = false;
  };

  Result<std::vector<Property>> properties_of(const json::object& object) {
    std::vector<Property> properties;
    if (const json::value* listed = find(object, "properties")) {
      if (!listed->is_object()) return bad_keyword("properties", "must be an object");
      for (const auto& [name, schema] : listed->get_object()) properties.push_back({std::string(name), &schema});
    }
    if (const json::value* required = find(object, "required")) {
      if (!required->is_array()) return bad_keyword("required", "must be a list of strings");
      for (const json::value& name : required->get_array()) {
        if (!name.is_string()) return bad_keyword("required", "must be a list of strings");
        const auto found = std::find_if(properties.begin(), properties.end(),
                                        [&](const Property& each) { return each.name == name.get_string(); });
        if (found != properties.end()) {
          found->required = true;
        } else {
          const json::value* other = find(object, "additionalProperties");
          properties.push_back({std::string(name.get_string()), other == nullptr ? &kAnything : other, true});
        }
      }
    }
    if (properties.size() > kMaxProperties) {
      return Error{ErrorCode::kTooLarge, "the schema has an object of " + std::to_string(properties.size()) +
                                             " properties, at most " + std::to_string(kMaxProperties) +
                                             " are supported"};
    }
    return properties;
  }

  Result<int32_t> object(Nfa& nfa, int32_t from, const json::object& object, int depth) {
    ASSIGN_OR_RETURN(const std::vector<Property> properties, properties_of(object));
    ASSIGN_OR_RETURN(const auto least, count_of(object, "minProperties"));
    ASSIGN_OR_RETURN(const auto most, count_of(object, "maxProperties"));
    if (properties.empty()) return map(nfa, from, object, least.value_or(0), most, depth);
    const auto num_required = static_cast<int64_t>(
        std::count_if(properties.begin(), properties.end(), [](const auto& p) { return p.required; }));
    if (least.value_or(0) > num_required)
      return unsupported_keyword("minProperties", "beside properties is not supported");
    if (most && *most < static_cast<int64_t>(properties.size())) {
      return unsupported_keyword("maxProperties", "below the number of properties is not supported");
    }
    Nfa own;
    ASSIGN_OR_RETURN(const int32_t end, members(own, properties, depth));
    ASSIGN_OR_RETURN(RuleDfa rule, determinize(own, end));
    return nfa.add_call(from, set_.add(std::move(rule)));
  }

  // The properties in their order, those not required or not; no others.
  Result<int32_t> members(Nfa& nfa, const std::vector<Property>& properties, int depth) {
    const int32_t open = nfa.add_call(nfa.add_text(0, "{"), kSpaceRule);
    int32_t none = open;             // nothing was written yet; -1: something must have been
    int32_t some = nfa.add_state();  // something was
    for (const Property& property : properties) {
      ASSIGN_OR_RETURN(const int32_t rule, rule_of(*property.schema, depth + 1));
      const int32_t name = nfa.add_state();
      if (none >= 0) nfa.add_free(none, name);
      nfa.add_free(nfa.add_call(nfa.add_text(nfa.add_call(some, kSpaceRule), ","), kSpaceRule), name);
      int32_t at = nfa.add_text(name, json::serialize(json::string(property.name)));
      at = nfa.add_call(nfa.add_call(nfa.add_text(at, ":"), kSpaceRule), rule);
      if (property.required) {
        none = -1;
        some = at;
      } else {
        const int32_t next = nfa.add_state();
        nfa.add_free(some, next);
        nfa.add_free(at, next);
        some = next;
      }
    }
    const int32_t close = nfa.add_state();
    if (none >= 0) nfa.add_free(none, close);
    nfa.add_free(nfa.add_call(some, kSpaceRule), close);
    return nfa.add_text(close, "}");
  }

  // No properties by name: keys are free, values of one schema.
  Result<int32_t> map(Nfa& nfa, int32_t from, const json::object& object, int64_t least, std::optional<int64_t> most,
                      int depth) {
    const json::value* values = find(object, "additionalProperties");
    const json::value* names = find(object, "propertyNames");
    if (least > 1) return unsupported_keyword("minProperties", "above 1 is not supported");
    if (least > most.value_or(kMaxSchemaCount)) return bad_keyword("minProperties", "is above maxProperties");
    if (values != nullptr && *values == false) {
      if (least > 0) return nfa.add_state();
      return nfa.add_text(nfa.add_call(nfa.add_text(from, "{"), kSpaceRule), "}");
    }
    const bool anything = values == nullptr || *values == true || (values->is_object() && values->get_object().empty());
    if (anything && names == nullptr && least == 0 && !most) return nfa.add_call(from, kAnyObjectRule);
    int32_t value = kAnyValueRule;
    if (!anything) {
      ASSIGN_OR_RETURN(value, rule_of(*values, depth + 1));
    }
    int32_t key = kStringRule;
    if (names != nullptr) {
      ASSIGN_OR_RETURN(json::value text, merge_schemas(root_, json::value(json::object{{"type", "string"}}), *names));
      ASSIGN_OR_RETURN(key, rule_of(keep(std::move(text)), depth + 1));
    }
    Nfa entry;
    const int32_t colon = entry.add_text(entry.add_call(0, key), ":");
    ASSIGN_OR_RETURN(RuleDfa rule, determinize(entry, entry.add_call(entry.add_call(colon, kSpaceRule), value)));
    const int32_t entry_rule = set_.add(std::move(rule));
    const auto max_count = most ? static_cast<uint32_t>(*most) : RuleDfa::kUnbounded;
    return nfa.add_call(from, set_.add(list_rule('{', entry_rule, '}', static_cast<uint32_t>(least), max_count)));
  }

  static const json::value kAnything;

  RuleSet& set_;
  const json::value& root_;
  std::map<std::string, int32_t> refs_;  // rules of what was referred to
  std::deque<json::value> kept_;         // schemas made by merging
  size_t num_schemas_ = 0;
};

const json::value Compiler::kAnything(true);

}  // namespace

Result<int32_t> add_schema_rule(RuleSet& set, const json::value& schema) {
  return Compiler(set, schema).rule_of(schema, 0);
}

}  // namespace glimpse
