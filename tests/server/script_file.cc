#include "tests/server/script_file.h"

namespace glimpse {

Result<ScriptFile> ScriptFile::parse(std::string_view text) {
  ASSIGN_OR_RETURN(const json::value value, parse_json(text));
  if (!value.is_array()) return Error{ErrorCode::kInvalidData, "a script is a JSON array"};
  ScriptFile file;
  for (const json::value& item : value.get_array()) {
    if (!item.is_object()) return Error{ErrorCode::kInvalidData, "a script's entries are objects"};
    const json::object& object = item.get_object();
    Entry entry;
    ASSIGN_OR_RETURN(entry.when, get_string(object, "when", ""));
    ASSIGN_OR_RETURN(entry.text, get_string(object, "text", ""));
    ASSIGN_OR_RETURN(entry.first_ms, get_double(object, "first_ms", 0));
    ASSIGN_OR_RETURN(entry.per_token_ms, get_double(object, "per_token_ms", 0));
    ASSIGN_OR_RETURN(entry.repeat, get_int(object, "repeat", 1));
    ASSIGN_OR_RETURN(const std::string finish, get_string(object, "finish", "stop"));
    entry.finish = finish == "length"   ? FinishReason::kLength
                   : finish == "failed" ? FinishReason::kFailed
                                        : FinishReason::kStop;
    file.entries_.push_back(std::move(entry));
  }
  return file;
}

std::function<Script(const EngineRequest&)> ScriptFile::bind(const ModelSource& source) const {
  return [entries = entries_, &source](const EngineRequest& request) {
    const std::string prompt = source.tokenizer.decode(request.prompt.token_ids);
    for (const Entry& entry : entries) {
      if (!entry.when.empty() && prompt.find(entry.when) == std::string::npos) continue;
      Script script{.first_ms = entry.first_ms, .per_token_ms = entry.per_token_ms, .finish = entry.finish};
      const auto ids = source.tokenizer.encode(entry.text);
      for (int64_t i = 0; ids && i < entry.repeat; ++i) script.ids.insert(script.ids.end(), ids->begin(), ids->end());
      if (entry.finish == FinishReason::kStop && !source.eos_token_ids.empty()) {
        script.stop_token_id = source.eos_token_ids.front();
      }
      if (entry.finish == FinishReason::kFailed) script.error = "the script says so";
      return script;
    }
    return Script{};
  };
}

}  // namespace glimpse
