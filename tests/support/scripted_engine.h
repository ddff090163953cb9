#pragma once

// An engine for tests: answers every request with given token ids at a given pace, so that the server in front of it
// can be driven through tool calls, reasoning, slow and very long answers, overload and failure. One thread, as the
// real one; steps serve all running requests at once.

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engine/engine.h"

namespace glimpse {

// How one request is answered.
struct Script {
  std::vector<int32_t> ids;
  double first_ms = 0;      // from admission to the first token
  double per_token_ms = 0;  // between two tokens; 0: as fast as steps run
  FinishReason finish = FinishReason::kStop;
  std::optional<int32_t> stop_token_id;  // sent as the last token, with kStop
  std::string error;                     // with kFailed: after the ids
};

struct ScriptedEngineOptions {
  int32_t max_model_len = 8192;
  int32_t spatial_merge_size = 2;
  int32_t max_running = 64;
  int32_t max_waiting = 4096;
  double vision_ms = 1;                 // of the tower, for each picture
  int64_t image_rows = 8192;            // what the vision cache holds, in tokens
  int32_t block_size = 16;              // cached prefixes are whole blocks
  Status vision;                        // what prepare_vision says
  std::function<DeviceUsage()> device;  // what device_usage says; empty: no device
};

class ScriptedEngine final : public Engine {
 public:
  // `script` is called on the engine's thread when a request is admitted.
  ScriptedEngine(const ScriptedEngineOptions& options, std::function<Script(const EngineRequest&)> script,
                 EngineObserver* observer = nullptr);
  ~ScriptedEngine() override;

  int32_t max_model_len() const override { return options_.max_model_len; }
  Result<DType> prepare_vision() override;
  bool cuts_pictures() const override { return false; }
  Result<Buffer> allocate_pixels(size_t bytes) override;
  ImageRef find_image(const ImageKey& key) override;
  Result<ImageRef> add_image(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority priority,
                             std::function<void()> on_encoded) override;
  Result<uint64_t> submit(EngineRequest request) override;
  void cancel(uint64_t request) override;
  EngineStats stats() const override;
  DeviceUsage device_usage() const override { return options_.device ? options_.device() : DeviceUsage(); }
  void stop(int64_t deadline_ns) override;

  // Requests that ended as kCancelled, and the steps that still ran between the cancel and the end.
  int64_t num_cancelled() const;
  // Copies of the requests seen, without their callbacks.
  std::vector<EngineRequest> seen() const;

 private:
  class Image;
  struct Running {
    uint64_t id = 0;
    EngineRequest request;
    bool admitted = false;
    bool cancelled = false;
    Script script;
    size_t next = 0;
    int64_t due_ns = 0;
    int64_t admitted_ns = 0;
    int64_t last_ns = 0;
    int32_t num_cached = 0;
  };

  void run();
  // One step; the lock is held but for callbacks. Returns when the next one is due.
  int64_t step(std::unique_lock<std::mutex>& lock);
  void encode(int64_t now_ns, std::vector<std::function<void()>>& callbacks);
  void admit(Running& running, int64_t now_ns);
  bool images_ready(const EngineRequest& request) const;
  int32_t cached_prefix(const EngineRequest& request) const;
  void remember_prefix(const EngineRequest& request);

  const ScriptedEngineOptions options_;
  const std::function<Script(const EngineRequest&)> script_;
  EngineObserver* const observer_;
  SteadyClock clock_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::map<uint64_t, std::shared_ptr<Running>> requests_;
  std::map<ImageKey, std::shared_ptr<Image>> images_;
  std::deque<std::shared_ptr<Image>> to_encode_;
  std::deque<std::pair<std::string, std::vector<int32_t>>> prefixes_;  // salt, ids
  std::vector<EngineRequest> seen_;
  EngineStats stats_;
  uint64_t next_id_ = 1;
  int64_t num_cancelled_ = 0;
  bool stopping_ = false;
  bool quit_ = false;
  std::thread thread_;
};

}  // namespace glimpse
