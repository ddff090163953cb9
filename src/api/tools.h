#pragma once

// The tools of a request: functions that the model may ask to be called.

#include <optional>
#include <string>
#include <vector>

#include "api/error.h"

namespace glimpse {

struct ToolSet {
  enum class Choice { kNone, kAuto, kRequired, kNamed };
  struct Function {
    std::string name;
    json::value parameters;  // its JSON schema; null: none given
  };

  json::array json;                 // as the client sent them: what the template prints
  std::vector<Function> functions;  // their names and schemas, in order
  Choice choice = Choice::kAuto;
  std::string named;     // with kNamed
  bool parallel = true;  // parallel_tool_calls

  bool active() const { return !functions.empty() && choice != Choice::kNone; }
  const Function* find(std::string_view name) const;
};

// Reads tools, tool_choice, parallel_tool_calls and the older functions, function_call. An empty list counts as absent.
// Errors: 400 naming the field.
ApiResult<ToolSet> parse_tools(const json::object& body);

}  // namespace glimpse
