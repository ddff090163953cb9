#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "grammar/rule_set.h"

namespace glimpse {

// Adds the rule of GLM's tool calls (api/tool_call_parser.h): one of the tools, arguments in the order of the schema's
// properties; with `several`, any number of calls from one on. Strings are written as they are, without a check of
// their length; other values as JSON of their schema. Errors: as add_schema_rule, naming the tool.
Result<int32_t> add_tool_calls_rule(RuleSet& set, const std::vector<std::pair<std::string, json::value>>& tools,
                                    bool several);

}  // namespace glimpse
