#include "api/constraint_fields.h"

#include <array>

#include "api/fields.h"
#include "base/quote.h"

namespace glimpse {

namespace {

constexpr size_t kMaxChoices = 10000;
constexpr size_t kMaxChoiceBytes = size_t{1} << 16;

ApiResult<Constraint> schema_constraint(const json::value& schema, std::string_view field) {
  if (schema.is_object() || schema.is_bool())
    return Constraint{.kind = Constraint::Kind::kJsonSchema, .schema = schema};
  if (schema.is_string()) {  // as vLLM's guided_json also takes it
    auto parsed = parse_json(std::string_view(schema.get_string()));
    if (parsed && parsed->is_object()) {
      return Constraint{.kind = Constraint::Kind::kJsonSchema, .schema = *std::move(parsed)};
    }
  }
  return invalid_request(field, std::string(field) + " must be a JSON schema (an object)");
}

// One of structured_outputs' ways to say it.
ApiResult<Constraint> one_way(std::string_view way, const json::value& value, const std::string& field) {
  if (way == "json") return schema_constraint(value, field);
  if (way == "json_object") {
    if (!value.is_bool()) return invalid_request(field, field + " must be true or false");
    return Constraint{.kind = Constraint::Kind::kJsonObject};
  }
  if (way == "regex") {
    if (!value.is_string()) return invalid_request(field, field + " must be a string");
    return Constraint{.kind = Constraint::Kind::kRegex, .text = std::string(value.get_string())};
  }
  if (way == "choice") {
    Constraint constraint{.kind = Constraint::Kind::kChoice};
    if (!value.is_array() || value.get_array().empty() || value.get_array().size() > kMaxChoices) {
      return invalid_request(field, field + " must be a list of 1 to " + std::to_string(kMaxChoices) + " strings");
    }
    for (const json::value& choice : value.get_array()) {
      if (!choice.is_string() || choice.get_string().empty() || choice.get_string().size() > kMaxChoiceBytes) {
        return invalid_request(field, field + " must hold strings that are not empty");
      }
      constraint.choices.emplace_back(choice.get_string());
    }
    return constraint;
  }
  return not_supported(field, field + " is not supported; use json, regex or choice");
}

constexpr std::array<std::string_view, 6> kWays = {"json",   "json_object", "regex",
                                                   "choice", "grammar",     "structural_tag"};

ApiResult<std::optional<Constraint>> response_format(const json::object& body) {
  ASSIGN_OR_RETURN(const json::object* format, optional_object(body, "response_format"));
  if (format == nullptr) return std::optional<Constraint>();
  const json::value* type = find(*format, "type");
  if (type == nullptr || !type->is_string()) {
    return invalid_request("response_format.type", "response_format.type must be a string");
  }
  const std::string_view name = type->get_string();
  if (name == "text") return std::optional<Constraint>();
  if (name == "json_object") return std::optional(Constraint{.kind = Constraint::Kind::kJsonObject});
  if (name == "structural_tag") {
    return not_supported("response_format.type", "response_format of type structural_tag is not supported");
  }
  if (name != "json_schema") {
    return invalid_request("response_format.type",
                           "response_format.type must be text, json_object or json_schema, not " + in_quotes(name, 40));
  }
  const json::value* wrapper = find(*format, "json_schema");
  const json::value* schema =
      wrapper != nullptr && wrapper->is_object() ? find(wrapper->get_object(), "schema") : find(*format, "schema");
  if (schema == nullptr) {
    return invalid_request("response_format.json_schema.schema", "response_format.json_schema.schema is missing");
  }
  ASSIGN_OR_RETURN(Constraint made, schema_constraint(*schema, "response_format.json_schema.schema"));
  return std::optional(std::move(made));
}

}  // namespace

ApiResult<std::optional<Constraint>> parse_constraint(const json::object& body) {
  ASSIGN_OR_RETURN(std::optional<Constraint> found, response_format(body));
  const auto add = [&](std::string_view way, const json::value& value, const std::string& field) -> ApiStatus {
    if (way == "json_object" && value == false) return kApiOk;
    ASSIGN_OR_RETURN(Constraint made, one_way(way, value, field));
    if (found) return invalid_request(field, "the answer's form is given more than once; " + field + " is one of them");
    found = std::move(made);
    return kApiOk;
  };
  ASSIGN_OR_RETURN(const json::object* outputs, optional_object(body, "structured_outputs"));
  for (const std::string_view way : kWays) {
    if (const json::value* value = outputs == nullptr ? nullptr : find(*outputs, way); value != nullptr) {
      RETURN_IF_ERROR(add(way, *value, "structured_outputs." + std::string(way)));
    }
    const std::string old = "guided_" + std::string(way);
    if (const json::value* value = find(body, old); value != nullptr) RETURN_IF_ERROR(add(way, *value, old));
  }
  return found;
}

}  // namespace glimpse
