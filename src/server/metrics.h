#pragma once

// What operators and gateways watch: vLLM's names with finer buckets, and one histogram for each span of the account.
// I/O thread only; a scrape reads the engine's counters without a lock (Engine::stats).

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/latency.h"
#include "engine/engine.h"
#include "server/answer_cache.h"

namespace glimpse {

class Metrics {
 public:
  Metrics(const std::string& model_name, int32_t max_model_len, const Clock& clock);
  ~Metrics();

  // A request that got its answer or was cut off; `account` finished.
  struct Request {
    const LatencyAccount* account = nullptr;
    int64_t prompt_tokens = 0;
    int64_t cached_tokens = 0;
    int64_t completion_tokens = 0;
    int64_t max_tokens = 0;  // 0: not given
    int num_choices = 1;
    int64_t first_token_ns = 0;  // 0: there was none
    int64_t end_ns = 0;
  };
  void observe_request(const Request& request);
  void observe_first_token(double seconds);
  void observe_token_gap(double seconds);
  void observe_step(int64_t num_tokens, double seconds);
  // "stop", "length", "abort", "error".
  void count_end(std::string_view finish);
  void count_refusal(int status);
  void count_follow_up();
  void count_http(std::string_view route, std::string_view method, int status, double seconds);

  // State that is read when scraped.
  struct Gauges {
    EngineStats engine;
    size_t connections = 0;
    size_t file_bytes = 0;
    size_t file_count = 0;
    size_t preparation_waiting = 0;
    int64_t pictures_prepared = 0;
    int64_t picture_hits = 0;
    int64_t steps_lost = 0;
    AnswerCache::Stats answers;
    bool draining = false;
  };
  // Prometheus text format 0.0.4.
  std::string text(const Gauges& gauges);

  // p95 of the time to first token over the last minute, divided by that of the last hour: 1 is the usual, 0 unknown.
  double first_token_anomaly() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glimpse
