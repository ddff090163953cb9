#pragma once

// The StepRunner over Runner for a device whose steps end inside submit (the CPU): samples on the host's threads.

#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "engine/runner.h"
#include "engine/step_runner.h"

namespace glimpse {

StepRunnerInfo step_runner_info(const Runner& runner);

class HostStepRunner final : public StepRunner {
 public:
  // `runner` and `clock` outlive it.
  HostStepRunner(Runner& runner, const Clock& clock);

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
  void abandon_image() override;
  void read_images(int32_t first_row, int32_t count, std::byte* dst) override;
  void write_images(int32_t first_row, int32_t count, const std::byte* src) override;

 private:
  struct Slot {
    std::optional<Sampler> sampler;
    TokenMask* mask = nullptr;
  };
  // One row of logits to draw from.
  struct Draw {
    Slot* slot = nullptr;
    std::span<const uint64_t> allowed;
  };
  void draw(int64_t i, int thread);

  Runner& runner_;
  const Clock& clock_;
  StepRunnerInfo info_;
  std::mutex vision_mutex_;  // held while the tower is loaded
  std::vector<Slot> slots_;
  std::vector<SamplerScratch> scratch_;  // one a host thread
  std::vector<Draw> draws_;              // of the step
  std::vector<int32_t> rows_;            // of logits, as draws_
  std::vector<SampledToken> tokens_;     // as draws_
  const float* logits_ = nullptr;
  int64_t logits_ns_ = 0;
  double flops_before_ = 0;
};

}  // namespace glimpse
