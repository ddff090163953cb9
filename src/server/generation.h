#pragma once

// A chat or text completion from its body to its last event, whatever carries it: HTTP or WebSocket.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/prompt_builder.h"
#include "api/responder.h"
#include "base/clock.h"
#include "engine/engine.h"
#include "server/answer_cache.h"
#include "server/event_inbox.h"
#include "server/http_message.h"
#include "server/metrics.h"
#include "server/options.h"
#include "server/picture_sources.h"
#include "server/traces.h"
#include "server/work_pool.h"

namespace glimpse {

// Where a streamed answer goes.
class GenerationSink {
 public:
  virtual ~GenerationSink() = default;
  // The request has been admitted and will be streamed; called before the first event.
  virtual void begin(const LatencyAccount& so_far) = 0;
  // The client does not take what has been written: what comes now is put together into fewer, larger events.
  virtual bool congested() const = 0;
  // One or more whole server-sent events. False: nobody reads them; the request is cancelled.
  virtual bool write(std::string_view events) = 0;
};

enum class GenerationKind { kChat, kCompletion };

// One request's state. I/O thread only, but for `cancelled`.
class Generation final : public EventTarget, public std::enable_shared_from_this<Generation> {
 public:
  struct Input {
    GenerationKind kind = GenerationKind::kChat;
    std::string body;
    std::string owner;
    std::string request_id;  // x-request-id
    int64_t arrival_ns = 0;
    int64_t received_ns = 0;  // the body's last byte
    Attachments attachments;
  };

  Generation(asio::io_context& io, Engine& engine, const Clock& clock, Metrics& metrics, Input request);

  // The client has gone, or says so. May be called at any time.
  void cancel();
  bool is_cancelled() const { return cancelled->load(std::memory_order_relaxed); }

  void on_event(int index, EngineEvent event) override;

  Input input;
  CancelFlag cancelled;
  LatencyAccount account;
  std::string id;  // "chatcmpl-…"

 private:
  friend class GenerationService;

  Task<void> wait(int64_t ping_interval_ms);
  void end();

  Engine& engine_;
  const Clock& clock_;
  Metrics& metrics_;
  GenerationSink* sink_ = nullptr;  // while streaming
  std::unique_ptr<Responder> responder_;
  std::vector<uint64_t> engine_ids_;  // by choice; 0: done
  std::vector<int64_t> last_token_ns_;
  bool done_ = false;
  bool stream_broken_ = false;
  int64_t first_token_ns_ = 0;
  int64_t last_write_ns_ = 0;
  int32_t num_cached_tokens_ = 0;
  // By choice; empty without an answer cache. What is gathered for it as it comes.
  struct Recording {
    std::optional<Sha256Digest> key;  // none: drawn anew each time, or kept already
    CachedAnswer answer;
  };
  std::vector<Recording> recordings_;
  AnswerCache* answers_ = nullptr;
  bool with_logprobs_ = false;
  std::string finish_;  // the first choice's reason, for the metrics
  std::string out_;     // reused from event to event
  asio::steady_timer wake_;
};

class GenerationService {
 public:
  GenerationService(asio::io_context& io, const ServerOptions& options, const Clock& clock, const ApiModel& model,
                    Engine& engine, PictureSources& pictures, WorkPool& pool, Metrics& metrics, Traces& traces);

  // Answers the request. Returns the response of what is not streamed: an object, or an error before the stream began.
  // With nothing returned, all has been written to `sink`, or the client has gone.
  Task<std::optional<HttpResponse>> run(std::shared_ptr<Generation> job, GenerationSink& sink);

  std::shared_ptr<Generation> make(Generation::Input input) {
    return std::make_shared<Generation>(io_, engine_, clock_, metrics_, std::move(input));
  }

  // A draft: prefills the conversation before its open end at the lowest priority.
  struct DraftOutcome {
    int32_t num_prompt_tokens = 0;
    int32_t num_cached_tokens = 0;
    int64_t num_image_tokens = 0;
    bool computed = false;  // false: cancelled, or nothing to compute
  };
  Task<ApiResult<DraftOutcome>> draft(std::shared_ptr<Generation> job);

  // Requests between reception and last byte.
  size_t num_active() const { return num_active_; }
  // Seconds until there should be room in the queue, from how long requests took lately.
  double estimate_wait_s() const;

  AnswerCache::Stats answer_cache() const { return answers_.stats(); }

 private:
  struct Work;

  Task<std::optional<ApiError>> prepare(Generation& job, Work& work);
  ApiStatus parse(Generation& job, Work& work) const;
  ApiStatus build(Generation& job, Work& work) const;
  void make_answer_keys(const Generation& job, Work& work) const;
  std::optional<ApiError> submit(const std::shared_ptr<Generation>& job, Work& work);
  void record_end(Generation& job, const Work& work);
  Task<void> prefill_follow_up(std::shared_ptr<Work> work, std::string answer, std::string owner);
  std::string salt_of(const std::string& owner, const std::string& given) const;

  asio::io_context& io_;
  const ServerOptions& options_;
  const Clock& clock_;
  const ApiModel& model_;
  Engine& engine_;
  PictureSources& pictures_;
  WorkPool& pool_;
  Metrics& metrics_;
  Traces& traces_;
  AnswerCache answers_;
  std::shared_ptr<EventInbox> inbox_;
  size_t num_active_ = 0;
  double recent_request_s_ = 1;
};

// The Server-Timing header's value: the spans so far in milliseconds.
std::string server_timing(const LatencyAccount& account);

}  // namespace glimpse
