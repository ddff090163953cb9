#include "engine/host_step_runner.h"

#include "base/check.h"

namespace glimpse {

namespace {

// Values below which one thread has drawn before another would have begun.
constexpr int64_t kSmallDraw = 16384;

}  // namespace

StepRunnerInfo step_runner_info(const Runner& runner) {
  const RunnerOptions& options = runner.options();
  const ModelConfig& config = runner.config();
  return {.block_size = runner.block_size(),
          .num_blocks = runner.num_blocks(),
          .block_bytes = runner.block_bytes(),
          .max_model_len = options.max_model_len,
          .max_num_batched_tokens = options.max_num_batched_tokens,
          .max_num_seqs = options.max_num_seqs,
          .vocab_size = static_cast<int32_t>(config.text.vocab_size),
          .spatial_merge_size = static_cast<int32_t>(config.vision.spatial_merge_size),
          .patch_values = config.vision.in_channels * config.vision.patch_size * config.vision.patch_size,
          .num_image_rows = runner.num_image_rows(),
          .image_row_bytes = runner.image_row_bytes(),
          .cuts_pictures = runner.cuts_pictures(),
          .pipeline_depth = 0};
}

HostStepRunner::HostStepRunner(Runner& runner, const Clock& clock) : runner_(runner), clock_(clock) {
  info_ = step_runner_info(runner);
  const auto seqs = static_cast<size_t>(info_.max_num_seqs);
  slots_.resize(seqs);
  scratch_.resize(static_cast<size_t>(runner.backend().num_host_threads()));
  draws_.reserve(seqs);
  rows_.reserve(seqs);
  tokens_.resize(seqs);
}

void HostStepRunner::open_slot(int32_t slot, const SlotSpec& spec) {
  auto sampler =
      Sampler::create(*spec.sampling, static_cast<size_t>(info_.vocab_size), spec.prompt_ids, spec.stop_token_ids);
  CHECK(sampler.has_value(), slot);  // the parameters were checked when the request came
  sampler->resume(spec.output_ids);
  slots_[static_cast<size_t>(slot)] = {.sampler = *std::move(sampler), .mask = spec.mask};
}

void HostStepRunner::close_slot(int32_t slot) {
  slots_[static_cast<size_t>(slot)] = {};
}

void HostStepRunner::submit(const Batch& batch) {
  draws_.clear();
  rows_.clear();
  int32_t row = 0;
  for (const BatchEntry& entry : batch.entries) {
    if (!entry.wants_logits) continue;
    if (entry.slot >= 0) {
      draws_.push_back({.slot = &slots_[static_cast<size_t>(entry.slot)]});
      rows_.push_back(row);
    }
    ++row;
  }
  logits_ = runner_.run(batch);
  logits_ns_ = clock_.now_ns();
}

StepResult HostStepRunner::collect() {
  const auto count = static_cast<int64_t>(draws_.size());
  for (Draw& draw : draws_) {
    if (draw.slot->mask != nullptr) draw.allowed = draw.slot->mask->allowed();
  }
  if (count * info_.vocab_size <= kSmallDraw) {
    for (int64_t i = 0; i < count; ++i) draw(i, 0);
  } else {
    runner_.backend().for_each_on_host(count, [this](int64_t i, int thread) { draw(i, thread); });
  }
  for (size_t i = 0; i < draws_.size(); ++i) {
    if (draws_[i].slot->mask != nullptr) draws_[i].slot->mask->accept(tokens_[i].id);
  }
  return {.tokens = std::span(tokens_).first(draws_.size()), .sampling_ns = logits_ns_};
}

void HostStepRunner::draw(int64_t i, int thread) {
  const auto at = static_cast<size_t>(i);
  const float* logits = logits_ + rows_[at] * runner_.logits_stride();
  tokens_[at] = draws_[at].slot->sampler->sample({logits, static_cast<size_t>(info_.vocab_size)},
                                                 scratch_[static_cast<size_t>(thread)], draws_[at].allowed);
}

Result<DType> HostStepRunner::prepare_vision() {
  const std::lock_guard lock(vision_mutex_);
  return runner_.prepare_vision();
}

Status HostStepRunner::begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) {
  {
    const std::lock_guard lock(vision_mutex_);
    ASSIGN_OR_RETURN([[maybe_unused]] const DType dtype, runner_.prepare_vision());
  }
  flops_before_ = 0;
  return runner_.begin_image(pixels, grid, first_row);
}

VisionProgress HostStepRunner::advance_image(double max_flops) {
  const int64_t begin = clock_.now_ns();
  VisionProgress progress;
  progress.done = runner_.advance_image(max_flops);
  progress.flops = runner_.image_flops_done() - flops_before_;
  flops_before_ += progress.flops;
  progress.ns = clock_.now_ns() - begin;
  return progress;
}

void HostStepRunner::abandon_image() {
  runner_.abandon_image();
}

void HostStepRunner::read_images(int32_t first_row, int32_t count, std::byte* dst) {
  runner_.read_images(first_row, count, dst);
}

void HostStepRunner::write_images(int32_t first_row, int32_t count, const std::byte* src) {
  runner_.write_images(first_row, count, src);
}

}  // namespace glimpse
