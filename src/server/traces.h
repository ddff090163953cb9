#pragma once

// The last requests' spans and the engine's steps, as Chrome trace JSON (opens in Perfetto).

#include <array>
#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/latency.h"
#include "engine/engine.h"

namespace glimpse {

// A step as kept: requests by the hash of their id.
struct TracedStep {
  static constexpr size_t kMaxRequests = 64;
  int64_t step_id = 0;
  int64_t begin_ns = 0;
  int64_t end_ns = 0;
  int32_t num_seqs = 0;
  int32_t num_prefill_tokens = 0;
  int32_t num_decode_tokens = 0;
  int32_t num_vision_stages = 0;
  uint32_t num_requests = 0;  // of request_hashes; more than kMaxRequests are not kept
  std::array<uint64_t, kMaxRequests> request_hashes{};
};

// From the engine's thread to the I/O thread without a lock: a ring with one writer and one reader. When the reader is
// late, steps are lost and counted, the engine never waits.
class StepRing final : public EngineObserver {
 public:
  explicit StepRing(size_t capacity = 1024) : entries_(capacity) {}
  void on_step(const StepRecord& step) override;

  // The oldest unread step, or false.
  bool pop(TracedStep& entry);
  int64_t lost() const { return lost_.load(std::memory_order_relaxed); }

 private:
  std::vector<TracedStep> entries_;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> read_{0};
  std::atomic<int64_t> lost_{0};
};

class Traces {
 public:
  explicit Traces(size_t max_traces) : max_traces_(max_traces) {}

  void add_step(const TracedStep& step);
  // Keeps a finished request's spans, and the steps it took part in as far as they are still known.
  void add(const std::string& id, const std::string& request_id, const LatencyAccount& account);

  // By response id or request id. Times in microseconds from the request's arrival.
  std::optional<std::string> chrome_json(std::string_view id) const;

 private:
  struct Trace {
    std::string id;
    std::string request_id;
    int64_t arrival_ns = 0;
    std::vector<LatencyAccount::Entry> spans;
    std::vector<TracedStep> steps;
  };
  const size_t max_traces_;
  std::deque<TracedStep> steps_;
  std::deque<std::shared_ptr<const Trace>> traces_;  // oldest first
  std::unordered_map<std::string, std::shared_ptr<const Trace>> by_id_;
};

}  // namespace glimpse
