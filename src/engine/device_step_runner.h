#pragma once

// The StepRunner over Runner for a device that works beside the host: steps are enqueued, tokens are drawn on the
// device and one more step may be on its way before they are read. What the device cannot draw (log-probabilities,
// grammars, very long bias lists) is drawn by the host from a copy of its row.

#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/runner.h"
#include "engine/step_runner.h"

namespace glimpse {

class DeviceStepRunner final : public StepRunner {
 public:
  // `runner`, whose back end has the op `sample`, outlives it. Errors: kResource.
  static Result<std::unique_ptr<DeviceStepRunner>> create(Runner& runner);
  ~DeviceStepRunner() override;

  const StepRunnerInfo& info() const override { return info_; }
  void open_slot(int32_t slot, const SlotSpec& spec) override;
  void close_slot(int32_t slot) override;
  void submit(const Batch& batch) override;
  StepResult collect() override;
  Result<DType> prepare_vision() override;
  Result<Buffer> allocate_host(size_t bytes) override { return runner_.allocate_host(bytes); }
  DeviceUsage device_usage() const override { return runner_.device_usage(); }
  Status begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) override;
  VisionProgress advance_image(double max_flops) override;
  bool image_running() const override;
  void abandon_image() override;
  void read_images(int32_t first_row, int32_t count, std::byte* dst) override;
  void write_images(int32_t first_row, int32_t count, const std::byte* src) override;

 private:
  struct Slot {
    std::optional<Sampler> sampler;  // where the host draws
    TokenMask* mask = nullptr;
  };
  // A token that a step draws.
  struct Draw {
    int32_t row = 0;  // of the logits
    int32_t slot = 0;
    bool on_host = false;
  };
  // A step that was submitted. Two take turns.
  struct Pending {
    bool in_flight = false;
    bool finished = false;  // tokens are there
    bool has_host_draws = false;
    std::vector<Draw> draws;
    std::vector<SampledToken> tokens;  // as draws
    Buffer ids;                        // pinned, by row
    std::unique_ptr<Event> event;      // logits, ids and copies are there
  };

  explicit DeviceStepRunner(Runner& runner) : runner_(runner) {}
  Status build();
  void finish(Pending& pending);

  Runner& runner_;
  StepRunnerInfo info_;
  std::mutex vision_mutex_;  // held while the tower is loaded
  std::vector<Slot> slots_;
  Buffer device_slots_;  // SampleSlot of each
  Buffer history_;       // [slots, vocab] uint16
  Buffer host_logits_;   // pinned, rows that the host draws from
  std::array<Pending, 2> pending_;
  size_t next_ = 0;  // of pending_: that the next submit uses
  SamplerScratch scratch_;
  std::unique_ptr<Event> vision_begin_;
  std::unique_ptr<Event> vision_end_;
  double flops_before_ = 0;
  double flops_running_ = 0;  // of the slice under way; 0: none
  bool image_done_ = false;   // with that slice
};

// The step runner for what `runner`'s back end is. Errors: kResource.
Result<std::unique_ptr<StepRunner>> make_step_runner(Runner& runner, const Clock& clock);

}  // namespace glimpse
