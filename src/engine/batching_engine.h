#pragma once

// The Engine over a StepRunner: one thread that runs the loop (engine_loop.h), and an inbox that everybody else writes
// to. The thread sleeps when there is nothing to do.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/engine_loop.h"
#include "engine/snapshot.h"
#include "engine/step_runner.h"

namespace glimpse {

struct BatchingEngineOptions {
  // Names all that the KV of equal tokens depends on: model id, picture processor's options, rope parameters, dtypes.
  std::string model_key;
  EngineLoopOptions loop;
};

class BatchingEngine final : public Engine {
 public:
  // Starts the thread. The references outlive the engine; `observer` may be null.
  BatchingEngine(StepRunner& runner, const Clock& clock, const BatchingEngineOptions& options,
                 EngineObserver* observer = nullptr);
  // Cancels what is left.
  ~BatchingEngine() override;

  int32_t max_model_len() const override { return runner_.info().max_model_len; }
  Result<DType> prepare_vision() override { return runner_.prepare_vision(); }
  bool cuts_pictures() const override { return runner_.info().cuts_pictures; }
  Result<Buffer> allocate_pixels(size_t bytes) override { return runner_.allocate_host(bytes); }
  DeviceUsage device_usage() const override { return runner_.device_usage(); }
  ImageRef find_image(const ImageKey& key) override;
  Result<ImageRef> add_image(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority priority,
                             std::function<void()> on_encoded) override;
  Result<uint64_t> submit(EngineRequest request) override;
  void cancel(uint64_t request) override;
  EngineStats stats() const override;
  void stop(int64_t deadline_ns) override;

 private:
  struct Inbox {
    std::vector<std::unique_ptr<ActiveRequest>> requests;
    std::vector<uint64_t> cancels;
    bool woken = false;  // there is a picture
    bool empty() const { return requests.empty() && cancels.empty() && !woken; }
  };

  void run();
  void wake();

  StepRunner& runner_;
  const Clock& clock_;
  const std::string model_key_;
  const int32_t max_num_waiting_;
  EngineLoop loop_;  // the thread's, but for loop_.vision()'s thread-safe half

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Inbox inbox_;
  uint64_t next_id_ = 1;
  bool stopping_ = false;
  int64_t stop_deadline_ns_ = 0;
  int32_t num_waiting_ = 0;  // in the loop, or on their way there
  int32_t num_drafts_ = 0;   // in the loop
  Snapshot<EngineStats> stats_;
  std::mutex join_mutex_;
  std::thread thread_;
};

// Runs a small prompt and some steps, and a small picture when the tower was asked for, through a runner that nobody
// uses yet: what is made at first use (pages, caches of code and weights, a device's kernels) is there for the first
// request. Errors: those of the vision tower.
Status warm_up(StepRunner& runner, bool vision);

}  // namespace glimpse
