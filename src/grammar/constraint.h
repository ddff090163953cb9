#pragma once

// What an answer is required to look like, before it is compiled.

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace glimpse {

struct Constraint {
  enum class Kind {
    kJsonObject,  // any JSON object
    kJsonSchema,  // `schema`
    kRegex,       // `text`, matched whole
    kChoice,      // one of `choices`
    kToolCalls,   // GLM's tool calls of `tools`
  };
  Kind kind = Kind::kJsonObject;
  json::value schema;
  std::string text;
  std::vector<std::string> choices;
  std::vector<std::pair<std::string, json::value>> tools;  // name, schema of its arguments (null: anything)
  bool several = false;                                    // kToolCalls: one or more, else exactly one

  // Equal constraints have equal keys.
  std::string key() const;
};

}  // namespace glimpse
