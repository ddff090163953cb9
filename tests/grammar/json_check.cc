#include "tests/grammar/json_check.h"

#include <algorithm>
#include <cmath>
#include <regex>

namespace glimpse {

namespace {

size_t length(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_type(const json::value& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_bool();
  if (type == "string") return value.is_string();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  if (!value.is_number()) return false;
  return type == "number" || (type == "integer" && std::floor(value.to_number<double>()) == value.to_number<double>());
}

}  // namespace

std::string violation(const json::value& root, const json::value& schema, const json::value& value) {
  if (schema == true) return {};
  if (schema == false) return "nothing is allowed";
  const json::object& s = schema.as_object();
  const auto has = [&](const char* key) { return s.contains(key); };
  if (has("$ref")) {
    const std::string ref(s.at("$ref").as_string());
    const json::value* target = &root;
    if (ref != "#") {
      json::error_code failed;
      target = root.find_pointer(ref.substr(1), failed);
    }
    if (std::string wrong = violation(root, *target, value); !wrong.empty()) return wrong;
  }
  if (has("type")) {
    const json::value& type = s.at("type");
    const bool fits = type.is_string()
                          ? is_type(value, type.as_string())
                          : std::any_of(type.as_array().begin(), type.as_array().end(),
                                        [&](const json::value& t) { return is_type(value, t.as_string()); });
    if (!fits) return "type of " + json::serialize(value);
  }
  if (has("const") && s.at("const") != value) return "const";
  if (has("enum")) {
    const json::array& list = s.at("enum").as_array();
    if (std::find(list.begin(), list.end(), value) == list.end()) return "enum";
  }
  for (const char* key : {"allOf", "anyOf", "oneOf"}) {
    if (!has(key)) continue;
    size_t fits = 0;
    for (const json::value& branch : s.at(key).as_array()) fits += violation(root, branch, value).empty() ? 1 : 0;
    const std::string_view name = key;
    if (name == "allOf" && fits != s.at(key).as_array().size()) return "allOf";
    if (name == "anyOf" && fits == 0) return "anyOf";
    if (name == "oneOf" && fits != 1) return "oneOf: " + std::to_string(fits);
  }
  if (value.is_string()) {
    const std::string text(value.as_string());
    if (has("minLength") && length(text) < s.at("minLength").to_number<size_t>()) return "minLength";
    if (has("maxLength") && length(text) > s.at("maxLength").to_number<size_t>()) return "maxLength";
    if (has("pattern") && !std::regex_search(text, std::regex(std::string(s.at("pattern").as_string())))) {
      return "pattern of " + text;
    }
  }
  if (value.is_number()) {
    const double number = value.to_number<double>();
    if (has("minimum") && number < s.at("minimum").to_number<double>()) return "minimum";
    if (has("maximum") && number > s.at("maximum").to_number<double>()) return "maximum";
    if (has("exclusiveMinimum") && number <= s.at("exclusiveMinimum").to_number<double>()) return "exclusiveMinimum";
    if (has("exclusiveMaximum") && number >= s.at("exclusiveMaximum").to_number<double>()) return "exclusiveMaximum";
  }
  if (value.is_array()) {
    const json::array& items = value.as_array();
    if (has("minItems") && items.size() < s.at("minItems").to_number<size_t>()) return "minItems";
    if (has("maxItems") && items.size() > s.at("maxItems").to_number<size_t>()) return "maxItems";
    const size_t prefix = has("prefixItems") ? s.at("prefixItems").as_array().size() : 0;
    for (size_t i = 0; i < items.size(); ++i) {
      const json::value* each = i < prefix ? &s.at("prefixItems").at(i) : has("items") ? &s.at("items") : nullptr;
      if (each == nullptr) continue;
      if (std::string wrong = violation(root, *each, items[i]); !wrong.empty())
        return "[" + std::to_string(i) + "]." + wrong;
    }
  }
  if (value.is_object()) {
    const json::object& members = value.as_object();
    if (has("minProperties") && members.size() < s.at("minProperties").to_number<size_t>()) return "minProperties";
    if (has("maxProperties") && members.size() > s.at("maxProperties").to_number<size_t>()) return "maxProperties";
    if (has("required")) {
      for (const json::value& name : s.at("required").as_array()) {
        if (!members.contains(name.as_string())) return "required " + std::string(name.as_string());
      }
    }
    for (const auto& [name, member] : members) {
      if (has("propertyNames")) {
        if (std::string wrong = violation(root, s.at("propertyNames"), json::value(name)); !wrong.empty())
          return "name: " + wrong;
      }
      const json::value* each = nullptr;
      if (has("properties")) each = s.at("properties").as_object().if_contains(name);
      if (each == nullptr && has("additionalProperties")) each = &s.at("additionalProperties");
      if (each == nullptr) continue;
      if (std::string wrong = violation(root, *each, member); !wrong.empty()) return std::string(name) + "." + wrong;
    }
  }
  return {};
}

}  // namespace glimpse
