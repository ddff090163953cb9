#pragma once

// One choice of a response while its tokens arrive: what chat and text completions have in common.

#include <algorithm>
#include <string>
#include <vector>

#include "api/answer_text.h"
#include "api/json_writer.h"
#include "api/responder.h"

namespace glimpse {

// The entries of logprobs so far, as JSON text without the brackets around them.
class LogprobsWriter {
 public:
  LogprobsWriter(bool chat, bool ids_as_text, const ApiModel& model)
      : model_(&model), chat_(chat), ids_as_text_(ids_as_text) {}

  void add(const SampledToken& token);
  bool empty() const { return tokens_.empty(); }
  size_t bytes() const { return tokens_.size() + logprobs_.size() + tops_.size() + offsets_.size(); }
  // The object of the choice; then it is as new, but text offsets go on.
  void take(std::string& out);

 private:
  void append_token(int32_t id, float logprob, std::string& out) const;

  const ApiModel* model_;
  bool chat_;
  bool ids_as_text_;
  std::string tokens_;  // chat: the whole entries; completions: one list each
  std::string logprobs_;
  std::string tops_;
  std::string offsets_;
  int64_t offset_ = 0;  // in characters
};

struct Choice {
  Choice(const GenerationFields& fields, bool chat, const ApiModel& model)
      : text(fields, model), logprobs(chat, fields.return_tokens_as_token_ids, model) {}

  // Whether `text_bytes` of text and what goes with them are few enough to wait for a client that does not read.
  bool may_hold(size_t text_bytes) const {
    constexpr size_t kMaxHeldBytes = size_t{64} << 10;
    return text_bytes + logprobs.bytes() + token_ids.size() < kMaxHeldBytes;
  }

  AnswerText text;
  LogprobsWriter logprobs;
  std::string token_ids;  // since the last chunk, as a JSON list without brackets
  bool begun = false;     // its first chunk is out
  bool done = false;
  std::string_view finish_reason;
  std::string stop_reason = "null";  // JSON
  int64_t completion_tokens = 0;
  int64_t reasoning_tokens = 0;
  int64_t cached_tokens = 0;
  bool in_reasoning = false;
};

// Feeds an event's tokens to choice.text and counts them; `on_text` gets each piece of certain text. True when the
// choice is complete.
template <typename OnText>
bool take_tokens(Choice& choice, const EngineEvent& event, const GenerationFields& fields, const ApiModel& model,
                 OnText&& on_text) {
  choice.cached_tokens = event.num_cached_tokens;
  for (size_t i = 0; i < event.tokens.size() && !choice.done; ++i) {
    const SampledToken& token = event.tokens[i];
    const bool is_stop =
        event.finish == FinishReason::kStop && event.stop_token_id == token.id && i + 1 == event.tokens.size();
    ++choice.completion_tokens;
    if (fields.return_token_ids) {
      if (!choice.token_ids.empty()) choice.token_ids += ',';
      choice.token_ids += std::to_string(token.id);
    }
    if (const auto id = model.source().to_tokenizer_id(token.id); id && *id == model.think_id()) {
      choice.in_reasoning = true;
    } else if (id && *id == model.end_think_id()) {
      choice.in_reasoning = false;
    } else if (choice.in_reasoning && !is_stop) {
      ++choice.reasoning_tokens;
    }
    if (is_stop && !fields.include_stop_str_in_output) break;
    if (fields.sampling.logprobs >= 0) choice.logprobs.add(token);
    on_text(choice.text.push(token.id));
    if (choice.text.stopped()) {
      choice.done = true;
      choice.finish_reason = "stop";
      choice.stop_reason.clear();
      append_json_string(choice.text.stop_string(), choice.stop_reason);
    }
  }
  if (event.finish && !choice.done) {
    on_text(choice.text.finish());
    choice.done = true;
    choice.finish_reason = event.finish == FinishReason::kLength ? "length" : "stop";
    const auto& own = fields.sampling.stop_token_ids;
    if (choice.text.stopped()) {
      choice.finish_reason = "stop";
      choice.stop_reason.clear();
      append_json_string(choice.text.stop_string(), choice.stop_reason);
    } else if (event.stop_token_id && std::find(own.begin(), own.end(), *event.stop_token_id) != own.end()) {
      choice.stop_reason = std::to_string(*event.stop_token_id);
    }
  }
  return choice.done;
}

// What the client is told when the engine ended a request otherwise; nothing for kStop and kLength.
std::optional<ApiError> failure_of(const EngineEvent& event);

// "id":…,"object":…,"created":…,"model":…,"system_fingerprint":… : what every chunk begins with.
std::string response_head(const Responder::Identity& identity, std::string_view object, const std::string& model);
// ,"logprobs":…,"finish_reason":… and so on: what stands in a choice behind its text. Takes what has gathered.
void append_outcome(Choice& choice, bool is_final, const GenerationFields& fields, std::string& out);
// The object of "usage".
void append_usage(const Responder::Usage& usage, std::string& out);
// ,"usage":… of a chunk with text: null, or the counts so far, or nothing, as the client asked.
void append_chunk_usage(const GenerationFields& fields, const Responder::Usage& usage, std::string& out);
// ,"latency":{…},"timings":{…} or nothing.
void append_latency(const ResponseEnd& end, const Responder::Usage& usage, std::string& out);
// Behind the last choice's last chunk: the chunk of usage, if asked for, and [DONE].
void append_stream_end(std::string_view head, const GenerationFields& fields, const ResponseEnd& end,
                       const Responder::Usage& usage, std::string& out);

}  // namespace glimpse
