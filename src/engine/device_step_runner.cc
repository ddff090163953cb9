#include "engine/device_step_runner.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/check.h"
#include "engine/host_step_runner.h"

namespace glimpse {

namespace {

// What the device needs to know of a slot; nullopt when the host has to draw.
std::optional<SampleSlot> device_slot(const SlotSpec& spec, int32_t vocab) {
  const SamplingParams& params = *spec.sampling;
  if (params.logprobs >= 0 || spec.mask != nullptr) return std::nullopt;
  std::map<int32_t, float> bias;
  for (const auto& [id, value] : params.logit_bias) bias[id] += value;
  std::vector<int32_t> stops = params.stop_token_ids;
  for (const int32_t id : spec.stop_token_ids) {
    if (id >= 0 && id < vocab) stops.push_back(id);  // a checkpoint's own may lie outside the vocabulary
  }
  if (params.min_tokens == 0) stops.clear();
  if (bias.size() > SampleSlot::kMaxBias || stops.size() > SampleSlot::kMaxStop) return std::nullopt;

  SampleSlot slot{.temperature = params.temperature,
                  .top_k = std::max(params.top_k, 0),
                  .top_p = params.top_p,
                  .min_p = params.min_p,
                  .repetition_penalty = params.repetition_penalty,
                  .frequency_penalty = params.frequency_penalty,
                  .presence_penalty = params.presence_penalty,
                  .min_tokens = params.min_tokens,
                  .seed = params.seed.value_or(0),
                  .position = spec.output_ids.size()};
  slot.has_penalties = static_cast<int32_t>(params.repetition_penalty != 1 || params.frequency_penalty != 0 ||
                                            params.presence_penalty != 0);
  for (const auto& [id, value] : bias) {
    slot.bias_ids[slot.num_bias] = id;
    slot.bias_values[slot.num_bias++] = value;
  }
  for (const int32_t id : stops) slot.stop_ids[slot.num_stop++] = id;
  return slot;
}

}  // namespace

Result<std::unique_ptr<DeviceStepRunner>> DeviceStepRunner::create(Runner& runner) {
  auto made = std::unique_ptr<DeviceStepRunner>(new DeviceStepRunner(runner));
  RETURN_IF_ERROR(made->build());
  return made;
}

DeviceStepRunner::~DeviceStepRunner() {
  runner_.vision_stream().synchronize();
  runner_.stream().synchronize();
}

Status DeviceStepRunner::build() {
  const RunnerOptions& options = runner_.options();
  info_ = step_runner_info(runner_);
  info_.pipeline_depth = 1;
  info_.vision_apart = true;
  info_.tunes_shapes = true;
  Backend& backend = runner_.backend();
  CHECK(backend.ops().sample != nullptr);
  const auto seqs = static_cast<size_t>(options.max_num_seqs);
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  slots_.resize(seqs);
  ASSIGN_OR_RETURN(device_slots_, backend.allocate(seqs * sizeof(SampleSlot), MemoryKind::kDevice));
  ASSIGN_OR_RETURN(history_, backend.allocate(seqs * vocab * sizeof(uint16_t), MemoryKind::kDevice));
  ASSIGN_OR_RETURN(host_logits_, backend.allocate(seqs * vocab * sizeof(float), MemoryKind::kPinnedHost));
  for (Pending& pending : pending_) {
    pending.draws.reserve(seqs);
    pending.tokens.resize(seqs);
    ASSIGN_OR_RETURN(pending.ids, backend.allocate(seqs * sizeof(int32_t), MemoryKind::kPinnedHost));
    pending.event = backend.make_event();
  }
  vision_begin_ = backend.make_event();
  vision_end_ = backend.make_event();
  return {};
}

void DeviceStepRunner::open_slot(int32_t slot, const SlotSpec& spec) {
  Slot& to = slots_[static_cast<size_t>(slot)];
  to = {.sampler = {}, .mask = spec.mask};
  std::optional<SampleSlot> on_device = device_slot(spec, info_.vocab_size);
  if (!on_device) {
    auto sampler =
        Sampler::create(*spec.sampling, static_cast<size_t>(info_.vocab_size), spec.prompt_ids, spec.stop_token_ids);
    CHECK(sampler.has_value(), slot);  // the parameters were checked when the request came
    sampler->resume(spec.output_ids);
    to.sampler = *std::move(sampler);
    on_device = SampleSlot{.on_host = 1};
  }
  // From pageable memory: the copy has been read when copy() returns.
  Stream& stream = runner_.stream();
  stream.copy(device_slots_.as<SampleSlot>() + slot, &*on_device, sizeof(SampleSlot));
  if (on_device->has_penalties == 0) return;
  std::vector<uint16_t> history(static_cast<size_t>(info_.vocab_size));
  for (const int32_t id : spec.prompt_ids) {
    if (id >= 0 && id < info_.vocab_size) history[static_cast<size_t>(id)] = SampleArgs::kInPrompt;
  }
  for (const int32_t id : spec.output_ids) {
    uint16_t& entry = history[static_cast<size_t>(id)];
    if ((entry & SampleArgs::kCountMask) != SampleArgs::kCountMask) ++entry;
  }
  stream.copy(history_.as<uint16_t>() + static_cast<size_t>(slot) * history.size(), history.data(),
              history.size() * sizeof(uint16_t));
}

void DeviceStepRunner::close_slot(int32_t slot) {
  slots_[static_cast<size_t>(slot)] = {};
}

void DeviceStepRunner::submit(const Batch& batch) {
  Pending& previous = pending_[1 - next_];
  // What the host draws has to be known, and told to the device, before the next step can read it.
  if (previous.in_flight && previous.has_host_draws) finish(previous);
  Pending& step = pending_[next_];
  CHECK(!step.in_flight, next_);
  next_ = 1 - next_;
  step.in_flight = true;
  step.finished = false;
  step.has_host_draws = false;
  step.draws.clear();
  bool device_draws = false;
  int32_t row = 0;
  for (const BatchEntry& entry : batch.entries) {
    if (!entry.wants_logits) continue;
    if (entry.slot >= 0) {
      const bool on_host = slots_[static_cast<size_t>(entry.slot)].sampler.has_value();
      step.draws.push_back({row, entry.slot, on_host});
      step.has_host_draws |= on_host;
      device_draws |= !on_host;
    }
    ++row;
  }
  const StepShape shape = runner_.enqueue(batch);
  Stream& stream = runner_.stream();
  const Matrix& logits = runner_.logits();
  if (device_draws) {
    sample({.rows = {runner_.inputs().logits().count, shape.num_logits},
            .row_slots = runner_.inputs().device().row_slots,
            .logits = logits,
            .slots = device_slots_.as<SampleSlot>(),
            .history = history_.as<uint16_t>(),
            .last_ids = runner_.last_ids(),
            .ids = step.ids.as<int32_t>()},
           stream);
  }
  for (const Draw& draw : step.draws) {
    if (!draw.on_host) continue;
    const auto vocab = static_cast<size_t>(info_.vocab_size);
    stream.copy(host_logits_.as<float>() + static_cast<size_t>(draw.row) * vocab, logits.row<float>(draw.row),
                vocab * sizeof(float));
  }
  stream.record(*step.event);
}

void DeviceStepRunner::finish(Pending& pending) {
  if (pending.finished) return;
  pending.event->wait();
  const auto vocab = static_cast<size_t>(info_.vocab_size);
  for (size_t i = 0; i < pending.draws.size(); ++i) {
    const Draw& draw = pending.draws[i];
    SampledToken& token = pending.tokens[i];
    if (!draw.on_host) {
      token = {.id = pending.ids.as<int32_t>()[draw.row]};
      continue;
    }
    Slot& slot = slots_[static_cast<size_t>(draw.slot)];
    token = {};
    if (!slot.sampler) continue;  // closed meanwhile: nobody asks for it any more
    std::span<const uint64_t> allowed;
    if (slot.mask != nullptr) allowed = slot.mask->allowed();
    token = slot.sampler->sample({host_logits_.as<float>() + static_cast<size_t>(draw.row) * vocab, vocab}, scratch_,
                                 allowed);
    if (slot.mask != nullptr) slot.mask->accept(token.id);
    runner_.stream().copy(runner_.last_ids() + draw.slot, &token.id, sizeof token.id);  // pageable: read at once
  }
  pending.finished = true;
}

StepResult DeviceStepRunner::collect() {
  // The older one of those in flight.
  Pending& step = pending_[next_].in_flight ? pending_[next_] : pending_[1 - next_];
  CHECK(step.in_flight);
  finish(step);
  step.in_flight = false;
  return {.tokens = std::span(step.tokens).first(step.draws.size())};
}

Result<DType> DeviceStepRunner::prepare_vision() {
  const std::lock_guard lock(vision_mutex_);
  return runner_.prepare_vision();
}

Status DeviceStepRunner::begin_image(const PixelSource& pixels, const GridThw& grid, int32_t first_row) {
  ASSIGN_OR_RETURN([[maybe_unused]] const DType dtype, prepare_vision());
  flops_before_ = 0;
  return runner_.begin_image(pixels, grid, first_row);
}

// Runs beside the steps and gives way to them; its own time is between two marks on its stream. While steps are under
// way nobody waits for it.
VisionProgress DeviceStepRunner::advance_image(double max_flops) {
  if (flops_running_ == 0) {
    Stream& stream = runner_.vision_stream();
    stream.record(*vision_begin_);
    image_done_ = runner_.enqueue_image(max_flops);
    stream.record(*vision_end_);
    flops_running_ = runner_.image_flops_done() - flops_before_;
    flops_before_ += flops_running_;
  }
  const bool steps_run = pending_[0].in_flight || pending_[1].in_flight;
  if (steps_run && !vision_end_->done()) return {};
  vision_end_->wait();
  return {.done = image_done_, .flops = std::exchange(flops_running_, 0), .ns = vision_end_->ns_since(*vision_begin_)};
}

bool DeviceStepRunner::image_running() const {
  return flops_running_ > 0 && !vision_end_->done();
}

void DeviceStepRunner::abandon_image() {
  if (std::exchange(flops_running_, 0) > 0) vision_end_->wait();
  runner_.abandon_image();
}

void DeviceStepRunner::read_images(int32_t first_row, int32_t count, std::byte* dst) {
  runner_.read_images(first_row, count, dst);
}

void DeviceStepRunner::write_images(int32_t first_row, int32_t count, const std::byte* src) {
  runner_.write_images(first_row, count, src);
}

Result<std::unique_ptr<StepRunner>> make_step_runner(Runner& runner, const Clock& clock) {
  if (runner.backend().ops().sample == nullptr) {
    return std::unique_ptr<StepRunner>(std::make_unique<HostStepRunner>(runner, clock));
  }
  ASSIGN_OR_RETURN(auto made, DeviceStepRunner::create(runner));
  return std::unique_ptr<StepRunner>(std::move(made));
}

}  // namespace glimpse
