#pragma once

// The engine's tokens to what the client reads: text, reasoning, tool calls, logprobs, usage, as one object or as the
// data lines of a stream. One object per HTTP request; not thread-safe; knows no sockets.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "api/prompt_builder.h"
#include "base/latency.h"
#include "engine/request.h"

namespace glimpse {

// What stands at the end of a response beside the text.
struct ResponseEnd {
  const LatencyAccount* account = nullptr;  // finished; null: no "latency" and "timings"
  int32_t image_cache_hits = 0;             // pictures that the vision cache had
  int32_t answer_cache_hits = 0;            // choices that the answer cache had
};

class Responder {
 public:
  struct Identity {
    std::string id;         // "chatcmpl-…", "cmpl-…"
    int64_t created_s = 0;  // Unix time
    std::string fingerprint;
    std::string call_seed{};  // tool calls are numbered from this; empty: from the id
  };

  // Everything is copied but `model`, which outlives this. `built` is in the order of the prompts (one for chat).
  static std::unique_ptr<Responder> chat(const ChatRequest& request, const BuiltPrompt& built, const ApiModel& model,
                                         Identity identity);
  static std::unique_ptr<Responder> completion(const CompletionRequest& request, std::span<const BuiltPrompt> built,
                                               const ApiModel& model, Identity identity);
  virtual ~Responder() = default;

  struct Progress {
    bool cancel = false;       // the choice is complete (a stop string): cancel its engine request
    bool choice_done = false;  // with this event; its finish_reason is known
    bool all_done = false;     // every choice is: call finish()
  };
  // The next event of choice `index`. With stream, appends zero or one event ("data: {…}\n\n") to `out` (several only
  // for tool calls); `out` is the caller's and may be reused. Events after a choice is done are ignored. `hold`: keep
  // the text for a later event of the choice, whose chunk then has both; so it will be unless that becomes too much.
  virtual Progress push(int index, const EngineEvent& event, std::string& out, bool hold = false) = 0;

  // After all_done. With stream: the last choice's finish_reason, usage if asked for, latency and timings, and
  // "data: [DONE]\n\n". Without: the whole response object.
  virtual void finish(const ResponseEnd& end, std::string& out) = 0;

  // An error after the stream began: the error event and "data: [DONE]\n\n".
  static void append_stream_error(const ApiError& error, std::string& out);
  // Set when an engine request ended as kFailed, kDeadline or kCancelled by others: what to answer instead.
  virtual const ApiError* failure() const = 0;

  struct Usage {
    int64_t prompt_tokens = 0;
    int64_t completion_tokens = 0;
    int64_t cached_tokens = 0;
    int64_t image_tokens = 0;
    int64_t reasoning_tokens = 0;
  };
  virtual Usage usage() const = 0;
  // The content of choice 0 as the client got it so far (for the follow-up's prefix and the answer cache).
  virtual std::string_view content() const = 0;
};

}  // namespace glimpse
