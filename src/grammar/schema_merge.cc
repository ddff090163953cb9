#include "grammar/schema_merge.h"

#include <algorithm>
#include <array>

#include "base/quote.h"

namespace glimpse {

namespace {

constexpr int kMaxDepth = 32;

const json::value* follow(const json::value& root, const json::value& schema) {
  const json::value* at = &schema;
  for (int i = 0; i < kMaxDepth && at->is_object(); ++i) {
    const json::value* ref = find(at->get_object(), "$ref");
    if (ref == nullptr || !ref->is_string()) return at;
    const auto target = resolve_ref(root, ref->get_string());
    if (!target) return at;
    at = *target;
  }
  return at;
}

std::string_view type_name(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "boolean";
    case json::kind::int64:
    case json::kind::uint64:
    case json::kind::double_:
      return "number";
    case json::kind::string:
      return "string";
    case json::kind::array:
      return "array";
    case json::kind::object:
      return "object";
  }
  return "";
}

// The values that enum or const list, or nothing.
std::vector<const json::value*> listed(const json::object& schema) {
  if (const json::value* value = schema.if_contains("const")) return {value};
  std::vector<const json::value*> values;
  const json::value* list = find(schema, "enum");
  if (list == nullptr || !list->is_array()) return values;
  for (const json::value& value : list->get_array()) values.push_back(&value);
  return values;
}

// Type names, "integer" counted as "number"; empty: any.
std::vector<std::string_view> types_of(const json::object& schema) {
  std::vector<std::string_view> types;
  const auto add = [&](const json::value& name) {
    if (name.is_string())
      types.push_back(name.get_string() == "integer" ? "number" : std::string_view(name.get_string()));
  };
  if (const json::value* type = find(schema, "type"); type != nullptr) {
    if (type->is_array()) {
      for (const json::value& name : type->get_array()) add(name);
    } else {
      add(*type);
    }
    return types;
  }
  for (const json::value* value : listed(schema)) types.push_back(type_name(*value));
  return types;
}

bool requires_name(const json::object& schema, std::string_view name) {
  const json::value* required = find(schema, "required");
  return required != nullptr && required->is_array() &&
         std::any_of(required->get_array().begin(), required->get_array().end(),
                     [&](const json::value& each) { return each.is_string() && each.get_string() == name; });
}

bool lists_disjoint(const std::vector<const json::value*>& a, const std::vector<const json::value*>& b) {
  if (a.empty() || b.empty()) return false;
  return std::none_of(a.begin(), a.end(), [&](const json::value* x) {
    return std::any_of(b.begin(), b.end(), [&](const json::value* y) { return *x == *y; });
  });
}

Result<json::value> merge_keyword(const json::value& root, std::string_view key, const json::value& a,
                                  const json::value& b, int depth) {
  if (a == b) return a;
  if (key == "properties" && a.is_object() && b.is_object()) {
    json::object merged = a.get_object();
    for (const auto& [name, schema] : b.get_object()) {
      if (json::value* there = merged.if_contains(name)) {
        ASSIGN_OR_RETURN(*there, merge_schemas(root, *there, schema, depth + 1));
      } else {
        merged.emplace(name, schema);
      }
    }
    return json::value(std::move(merged));
  }
  if (key == "required" && a.is_array() && b.is_array()) {
    json::array merged = a.get_array();
    for (const json::value& name : b.get_array()) {
      if (std::find(merged.begin(), merged.end(), name) == merged.end()) merged.push_back(name);
    }
    return json::value(std::move(merged));
  }
  const bool numbers = a.is_number() && b.is_number();
  for (const std::string_view lower : {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}) {
    if (key == lower && numbers) return a.to_number<double>() > b.to_number<double>() ? a : b;
  }
  for (const std::string_view upper : {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}) {
    if (key == upper && numbers) return a.to_number<double>() < b.to_number<double>() ? a : b;
  }
  if (key == "type" && ((a == "integer" && b == "number") || (a == "number" && b == "integer"))) {
    return json::value("integer");
  }
  if (key == "enum" && a.is_array() && b.is_array()) {
    json::array both;
    for (const json::value& value : a.get_array()) {
      if (std::find(b.get_array().begin(), b.get_array().end(), value) != b.get_array().end()) both.push_back(value);
    }
    return json::value(std::move(both));
  }
  if (is_annotation(key)) return b;
  return Error{ErrorCode::kUnsupported,
               "the schema says " + in_quotes(key, 40) + " twice for one value, in ways that are not put together"};
}

}  // namespace

Result<const json::value*> resolve_ref(const json::value& root, std::string_view ref) {
  if (ref == "#") return &root;
  if (!ref.starts_with("#/")) {
    return Error{ErrorCode::kUnsupported, "$ref " + in_quotes(ref, 80) + ": only #/… within the schema is supported"};
  }
  json::error_code failed;
  const json::value* found = root.find_pointer(ref.substr(1), failed);
  if (failed || found == nullptr) {
    return Error{ErrorCode::kInvalidArgument, "$ref " + in_quotes(ref, 80) + " points at nothing"};
  }
  return found;
}

bool is_annotation(std::string_view keyword) {
  static constexpr std::array<std::string_view, 20> kAnnotations = {"title",
                                                                    "description",
                                                                    "default",
                                                                    "examples",
                                                                    "example",
                                                                    "deprecated",
                                                                    "readOnly",
                                                                    "writeOnly",
                                                                    "$comment",
                                                                    "$schema",
                                                                    "$id",
                                                                    "$defs",
                                                                    "definitions",
                                                                    "id",
                                                                    "name",
                                                                    "strict",
                                                                    "nullable",
                                                                    "contentEncoding",
                                                                    "contentMediaType",
                                                                    "discriminator"};
  return keyword.starts_with("x-") ||
         std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end();
}

Result<json::value> merge_schemas(const json::value& root, const json::value& a, const json::value& b, int depth) {
  if (depth > kMaxDepth) return Error{ErrorCode::kTooLarge, "the schema's allOf and $ref are nested too deeply"};
  if (a == true) return b;
  if (b == true) return a;
  if (a == false || b == false) return json::value(false);
  if (!a.is_object() || !b.is_object()) return Error{ErrorCode::kInvalidArgument, "a schema must be an object"};
  json::object merged;
  // References first, so that what they say is there to be merged with.
  std::vector<json::value> parts;
  for (const json::value* side : {&a, &b}) {
    const json::value* ref = find(side->get_object(), "$ref");
    if (ref == nullptr) {
      parts.push_back(*side);
      continue;
    }
    if (!ref->is_string()) return Error{ErrorCode::kInvalidArgument, "$ref must be a string"};
    ASSIGN_OR_RETURN(const json::value* target, resolve_ref(root, ref->get_string()));
    json::object rest = side->get_object();
    rest.erase("$ref");
    ASSIGN_OR_RETURN(json::value whole, merge_schemas(root, *target, json::value(std::move(rest)), depth + 1));
    parts.push_back(std::move(whole));
  }
  if (!parts[0].is_object() || !parts[1].is_object()) return merge_schemas(root, parts[0], parts[1], depth + 1);
  merged = parts[0].get_object();
  for (const auto& [key, value] : parts[1].get_object()) {
    if (json::value* there = merged.if_contains(key)) {
      ASSIGN_OR_RETURN(*there, merge_keyword(root, key, *there, value, depth));
    } else {
      merged.emplace(key, value);
    }
  }
  return json::value(std::move(merged));
}

bool clearly_disjoint(const json::value& root, const json::value& first, const json::value& second) {
  const json::value* a = follow(root, first);
  const json::value* b = follow(root, second);
  if (!a->is_object() || !b->is_object()) return false;
  const json::object& x = a->get_object();
  const json::object& y = b->get_object();
  if (lists_disjoint(listed(x), listed(y))) return true;
  const auto types_x = types_of(x);
  const auto types_y = types_of(y);
  if (!types_x.empty() && !types_y.empty() && std::none_of(types_x.begin(), types_x.end(), [&](std::string_view type) {
        return std::find(types_y.begin(), types_y.end(), type) != types_y.end();
      })) {
    return true;
  }
  // Objects told apart by a property that both require and that is constant in each.
  const json::value* properties_x = find(x, "properties");
  const json::value* properties_y = find(y, "properties");
  if (properties_x == nullptr || properties_y == nullptr || !properties_x->is_object() || !properties_y->is_object()) {
    return false;
  }
  for (const auto& [name, schema] : properties_x->get_object()) {
    const json::value* other = properties_y->get_object().if_contains(name);
    if (other == nullptr || !schema.is_object() || !other->is_object()) continue;
    if (requires_name(x, name) && requires_name(y, name) &&
        lists_disjoint(listed(schema.get_object()), listed(other->get_object()))) {
      return true;
    }
  }
  return false;
}

}  // namespace glimpse
