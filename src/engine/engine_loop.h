#pragma once

// The engine's thread without the thread: schedule, run, tell the callers, again and again. Owns every request from its
// submission to its end. BatchingEngine feeds it; tests drive it step by step.

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "engine/active_request.h"
#include "engine/engine.h"
#include "engine/scheduler.h"
#include "engine/step_pacer.h"
#include "engine/step_runner.h"
#include "engine/vision_cache.h"

namespace glimpse {

struct EngineLoopOptions {
  int32_t max_num_waiting = 1024;
  VisionCacheOptions vision;
  StepPacerOptions pacer;
  bool check_integrity = false;  // after every step, for tests
};

class EngineLoop final : private ImageGate {
 public:
  // The references outlive it; `observer` may be null.
  EngineLoop(StepRunner& runner, const Clock& clock, const EngineLoopOptions& options, EngineObserver* observer);

  void add(std::unique_ptr<ActiveRequest> request);
  void cancel(uint64_t id);
  void cancel_all();
  // One step, or a slice of vision, or the results of a step in flight. False when there was nothing it could do.
  bool step();

  bool has_requests() const { return !requests_.empty(); }
  bool has_work() const { return has_requests() || num_in_flight_ > 0 || vision_.has_work(); }
  VisionCache& vision() { return vision_; }
  const VisionCache& vision() const { return vision_; }
  EngineStats stats() const;

 private:
  // A step between submit and collect.
  struct Flight {
    std::vector<StepEntry> entries;
    int64_t attempt = 0;
    int64_t begin_ns = 0;
    int32_t num_prefill = 0;
    int32_t num_decode = 0;
  };

  bool encoded(const Sequence& sequence, size_t image_idx) override;
  bool acquire(const Sequence& sequence, size_t image_idx) override;
  void submit(std::span<const StepEntry> entries, int64_t now_ns);
  void add_entry(const StepEntry& entry, size_t& used);
  void fill_image_rows(const ActiveRequest& active, int32_t first, std::span<int32_t> rows);
  void open_slot(ActiveRequest& active);
  int32_t run_vision(int32_t num_decoding, int32_t num_prefill);
  void collect();
  void record_spans(ActiveRequest& active, const StepEntry& entry, const Flight& flight, int64_t sampling_ns,
                    int64_t end_ns);
  void deliver(ActiveRequest& active, SampledToken& token);
  void finish(ActiveRequest& active, FinishReason reason, std::string error = {});
  EngineEvent event_of(ActiveRequest& active) const;
  void take_ended();
  void fail_requests_of_failed_pictures();
  void forget_ended();
  void observe(int64_t begin_ns, int32_t num_slices);

  StepRunner& runner_;
  const Clock& clock_;
  const EngineLoopOptions options_;
  EngineObserver* const observer_;
  const StepRunnerInfo& info_;
  Scheduler scheduler_;
  VisionCache vision_;
  StepPacer pacer_;

  std::unordered_map<uint64_t, std::unique_ptr<ActiveRequest>> requests_;
  std::vector<ActiveRequest*> ended_;  // to forget when no step refers to them
  int32_t num_drafts_ = 0;

  std::array<Flight, 2> flights_;
  size_t oldest_ = 0;
  int num_in_flight_ = 0;
  int64_t attempt_ = 0;  // counts calls of schedule(), also those that made no step
  int64_t num_steps_ = 0;
  int64_t last_collect_ns_ = 0;

  // Of the step that is being made.
  Batch batch_;
  std::array<std::vector<int32_t>, 3> positions_;
  std::vector<int32_t> image_rows_;
  std::vector<const std::string*> request_ids_;
  int32_t step_prefill_ = 0;
  int32_t step_decode_ = 0;

  int64_t failed_pictures_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t generation_tokens_ = 0;
};

}  // namespace glimpse
