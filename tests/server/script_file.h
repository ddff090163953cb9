#pragma once

// Answers written as text, for the scripted engine: a JSON array of
//   {"when": "substring of the prompt's text", "text": "<think>…</think>answer", "first_ms": 5, "per_token_ms": 1,
//    "repeat": 1, "finish": "stop" | "length" | "failed"}
// The first entry whose `when` (default: always) is in the prompt's text answers. Special tokens in `text` are tokens.

#include <functional>
#include <string>
#include <vector>

#include "base/json.h"
#include "bundle/model_source.h"
#include "tests/support/scripted_engine.h"

namespace glimpse {

class ScriptFile {
 public:
  static Result<ScriptFile> parse(std::string_view text);

  // `source` outlives the result.
  std::function<Script(const EngineRequest&)> bind(const ModelSource& source) const;

 private:
  struct Entry {
    std::string when;
    std::string text;
    double first_ms = 0;
    double per_token_ms = 0;
    int64_t repeat = 1;
    FinishReason finish = FinishReason::kStop;
  };
  std::vector<Entry> entries_;
};

}  // namespace glimpse
