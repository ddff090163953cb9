#include "api/tools.h"

#include <algorithm>

#include "api/fields.h"
#include "base/quote.h"

namespace glimpse {

namespace {

constexpr size_t kMaxTools = 512;
constexpr size_t kMaxNameBytes = 128;

ApiResult<ToolSet::Function> parse_function(const json::value* value, const std::string& field) {
  if (value == nullptr || !value->is_object()) return invalid_request(field, field + " must be an object");
  const json::object& object = value->get_object();
  const json::value* name = find(object, "name");
  if (name == nullptr || !name->is_string()) return invalid_request(field, field + ".name must be a string");
  ToolSet::Function function;
  function.name = std::string(name->get_string());
  const bool plain = std::all_of(function.name.begin(), function.name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
           c == '.';
  });
  if (function.name.empty() || function.name.size() > kMaxNameBytes || !plain) {
    return invalid_request(field, field + ".name must be 1 to " + std::to_string(kMaxNameBytes) +
                                      " letters, digits, \"_\", \"-\" or \".\", not " + in_quotes(function.name, 40));
  }
  if (const json::value* parameters = find(object, "parameters"); parameters != nullptr) {
    if (!parameters->is_object()) return invalid_request(field, field + ".parameters must be an object");
    function.parameters = *parameters;
  }
  return function;
}

ApiStatus parse_choice(const json::value& choice, ToolSet& tools) {
  if (choice.is_string()) {
    const std::string_view word = choice.get_string();
    if (word == "none") {
      tools.choice = ToolSet::Choice::kNone;
    } else if (word == "auto") {
      tools.choice = ToolSet::Choice::kAuto;
    } else if (word == "required" || word == "any") {
      tools.choice = ToolSet::Choice::kRequired;
    } else {
      return invalid_request("tool_choice",
                             "tool_choice must be none, auto, required or a function, not " + in_quotes(word, 40));
    }
  } else {
    const json::value* function = choice.is_object() ? find(choice.get_object(), "function") : nullptr;
    if (function == nullptr && choice.is_object()) function = &choice;  // {"name": …}: function_call, Responses
    const json::value* name =
        function != nullptr && function->is_object() ? find(function->get_object(), "name") : nullptr;
    if (name == nullptr || !name->is_string()) {
      return invalid_request("tool_choice",
                             "tool_choice must be a string or {\"type\": \"function\", \"function\": "
                             "{\"name\": …}}");
    }
    tools.choice = ToolSet::Choice::kNamed;
    tools.named = std::string(name->get_string());
    if (tools.find(tools.named) == nullptr) {
      return invalid_request("tool_choice",
                             "tool_choice names " + in_quotes(tools.named, 60) + ", which is none of the tools");
    }
  }
  if (tools.choice == ToolSet::Choice::kRequired && tools.functions.empty()) {
    return invalid_request("tool_choice", "tool_choice requires a tool, but there are no tools");
  }
  return kApiOk;
}

}  // namespace

const ToolSet::Function* ToolSet::find(std::string_view name) const {
  for (const Function& function : functions) {
    if (function.name == name) return &function;
  }
  return nullptr;
}

ApiResult<ToolSet> parse_tools(const json::object& body) {
  ToolSet tools;
  ASSIGN_OR_RETURN(const json::array* list, optional_array(body, "tools"));
  ASSIGN_OR_RETURN(const json::array* old, optional_array(body, "functions"));
  const json::array* given = list != nullptr ? list : old;
  if (given != nullptr && given->size() > kMaxTools) {
    return invalid_request("tools", "there are " + std::to_string(given->size()) + " tools, at most " +
                                        std::to_string(kMaxTools) + " are allowed");
  }
  for (size_t i = 0; given != nullptr && i < given->size(); ++i) {
    const json::value& tool = (*given)[i];
    const std::string field = (list != nullptr ? "tools[" : "functions[") + std::to_string(i) + "]";
    const json::value* function = &tool;
    if (list != nullptr) {
      if (!tool.is_object()) return invalid_request(field, field + " must be an object");
      const json::value* type = find(tool.get_object(), "type");
      if (type != nullptr && *type != "function") {
        return invalid_request(field, field + ".type must be \"function\"");
      }
      function = find(tool.get_object(), "function");
    }
    ASSIGN_OR_RETURN(ToolSet::Function made, parse_function(function, field + (list != nullptr ? ".function" : "")));
    if (tools.find(made.name) != nullptr) {
      return invalid_request(field, "two tools have the name " + in_quotes(made.name, 60));
    }
    tools.functions.push_back(std::move(made));
    tools.json.push_back(list != nullptr ? tool : json::object{{"type", "function"}, {"function", tool}});
  }
  const json::value* choice = find(body, "tool_choice");
  if (choice == nullptr) choice = find(body, "function_call");
  if (choice != nullptr) {
    RETURN_IF_ERROR(parse_choice(*choice, tools));
  }
  ASSIGN_OR_RETURN(const auto parallel, optional_bool(body, "parallel_tool_calls"));
  tools.parallel = parallel.value_or(true);
  return tools;
}

}  // namespace glimpse
