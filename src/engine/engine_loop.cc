#include "engine/engine_loop.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace glimpse {

namespace {

// Operations of vision to begin with, as long as nothing was measured: 10 ms of a large GPU.
constexpr double kFirstSliceApart = 5e12;

}  // namespace

EngineLoop::EngineLoop(StepRunner& runner, const Clock& clock, const EngineLoopOptions& options,
                       EngineObserver* observer)
    : runner_(runner),
      clock_(clock),
      options_(options),
      observer_(observer),
      info_(runner.info()),
      scheduler_({.num_blocks = info_.num_blocks,
                  .block_size = info_.block_size,
                  .max_num_seqs = info_.max_num_seqs,
                  .max_num_batched_tokens = info_.max_num_batched_tokens,
                  .max_num_waiting = options.max_num_waiting}),
      vision_(options.vision, runner, clock),
      pacer_(options.pacer, info_.max_num_seqs, info_.max_num_batched_tokens) {
  CHECK(info_.pipeline_depth == 0 || info_.pipeline_depth == 1, info_.pipeline_depth);
  const auto seqs = static_cast<size_t>(info_.max_num_seqs);
  const auto tokens = static_cast<size_t>(info_.max_num_batched_tokens);
  for (Flight& flight : flights_) flight.entries.reserve(seqs);
  batch_.entries.reserve(seqs);
  for (auto& axis : positions_) axis.resize(tokens);
  image_rows_.resize(tokens);
  request_ids_.reserve(seqs);
  ended_.reserve(2 * seqs);
}

void EngineLoop::add(std::unique_ptr<ActiveRequest> request) {
  ActiveRequest& active = *request;
  num_drafts_ += static_cast<int32_t>(active.is_draft());
  requests_[active.id] = std::move(request);
  for (const auto& picture : active.pictures) {
    vision_.raise(*picture, active.priority);
    if (picture->failed()) return finish(active, FinishReason::kFailed, picture->error());
  }
  const Status status = scheduler_.add(active);
  if (!status) finish(active, FinishReason::kFailed, status.error().message);
  take_ended();
}

void EngineLoop::cancel(uint64_t id) {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second->state == Sequence::State::kEnded) return;
  finish(*found->second, FinishReason::kCancelled);
  forget_ended();
}

void EngineLoop::cancel_all() {
  for (const auto& [id, active] : requests_) {
    if (active->state != Sequence::State::kEnded) finish(*active, FinishReason::kCancelled);
  }
  forget_ended();
}

bool EngineLoop::step() {
  vision_.run_callbacks();
  const int64_t begin = clock_.now_ns();
  const int32_t num_decoding = scheduler_.num_decoding();
  const bool vision_waits = vision_.has_work();
  ++attempt_;
  const auto entries = scheduler_.schedule(begin, pacer_.prefill_budget(num_decoding, vision_waits), *this);
  take_ended();
  step_prefill_ = step_decode_ = 0;
  request_ids_.clear();
  if (!entries.empty()) submit(entries, begin);
  const bool submitted = !entries.empty();
  bool worked = submitted || num_in_flight_ > 0;
  // Without a pipeline the tokens are there: nobody waits for a picture's slice to get them.
  const bool at_once = info_.pipeline_depth == 0 || !submitted;
  if (at_once && num_in_flight_ > 0) collect();
  if (num_in_flight_ == 0) vision_.release(attempt_);
  int32_t num_slices = 0;
  if (vision_waits) num_slices = run_vision(step_decode_, step_prefill_);
  worked |= num_slices > 0;
  if (num_in_flight_ > info_.pipeline_depth) collect();
  if (worked && observer_ != nullptr) observe(begin, num_slices);
  vision_.run_callbacks();
  fail_requests_of_failed_pictures();
  forget_ended();
  if (options_.check_integrity) scheduler_.check_integrity();
  return worked;
}

bool EngineLoop::encoded(const Sequence& sequence, size_t image_idx) {
  return static_cast<const ActiveRequest&>(sequence).pictures[image_idx]->encoded();
}

bool EngineLoop::acquire(const Sequence& sequence, size_t image_idx) {
  return vision_.acquire(*static_cast<const ActiveRequest&>(sequence).pictures[image_idx], attempt_);
}

void EngineLoop::submit(std::span<const StepEntry> entries, int64_t now_ns) {
  Flight& flight = flights_[(oldest_ + static_cast<size_t>(num_in_flight_)) % flights_.size()];
  flight.entries.assign(entries.begin(), entries.end());
  flight.attempt = attempt_;
  ++num_steps_;
  flight.begin_ns = now_ns;
  batch_.entries.clear();
  size_t used = 0;
  for (const StepEntry& entry : entries) {
    auto& active = static_cast<ActiveRequest&>(*entry.sequence);
    if (entry.samples && active.open_epoch != active.num_preemptions) open_slot(active);
    add_entry(entry, used);
    const bool decodes = entry.first >= active.num_prompt && entry.count == 1;
    (decodes ? step_decode_ : step_prefill_) += entry.count;
    request_ids_.push_back(&active.request.id);
  }
  flight.num_prefill = step_prefill_;
  flight.num_decode = step_decode_;
  runner_.submit(batch_);
  ++num_in_flight_;
}

// `used` counts the tokens whose positions and image rows lie in the step's own arrays.
void EngineLoop::add_entry(const StepEntry& entry, size_t& used) {
  auto& active = static_cast<ActiveRequest&>(*entry.sequence);
  const auto first = static_cast<size_t>(entry.first);
  const auto count = static_cast<size_t>(entry.count);
  BatchEntry& out = batch_.entries.emplace_back();
  out.token_ids = std::span(active.token_ids).subspan(first, count);
  out.num_computed = entry.first;
  out.block_ids = active.block_ids;
  out.wants_logits = entry.samples;
  out.slot = entry.samples ? entry.slot : -1;
  const MropePositions& positions = active.request.prompt.positions;
  for (size_t axis = 0; axis < 3; ++axis) {
    const std::vector<int32_t>& prompt = positions.axes[axis];
    if (first + count <= prompt.size()) {
      out.positions[axis] = std::span(prompt).subspan(first, count);
      continue;
    }
    // Tokens of the answer: index + delta on all axes (glm-v.md 5.2).
    int32_t* own = positions_[axis].data() + used;
    for (size_t i = 0; i < count; ++i) {
      own[i] = first + i < prompt.size() ? prompt[first + i] : static_cast<int32_t>(first + i) + positions.delta;
    }
    out.positions[axis] = {own, count};
  }
  const bool has_image = std::any_of(active.images.begin(), active.images.end(), [&](const ImageSpan& image) {
    return image.begin < entry.first + entry.count && image.end > entry.first;
  });
  if (has_image) {
    const auto rows = std::span(image_rows_).subspan(used, count);
    fill_image_rows(active, entry.first, rows);
    out.image_rows = rows;
  }
  used += count;
}

void EngineLoop::fill_image_rows(const ActiveRequest& active, int32_t first, std::span<int32_t> rows) {
  std::fill(rows.begin(), rows.end(), -1);
  const int32_t end = first + static_cast<int32_t>(rows.size());
  for (size_t i = 0; i < active.images.size(); ++i) {
    const ImageSpan& image = active.images[i];
    if (image.end <= first || image.begin >= end) continue;
    const int32_t first_row = vision_.first_row(*active.pictures[i]);
    CHECK(first_row >= 0, i);
    for (int32_t t = std::max(first, image.begin); t < std::min(end, image.end); ++t) {
      rows[static_cast<size_t>(t - first)] = first_row + t - image.begin;
    }
  }
}

void EngineLoop::open_slot(ActiveRequest& active) {
  const auto ids = std::span(std::as_const(active.token_ids));
  const auto prompt = static_cast<size_t>(active.num_prompt);
  // schedule() has put the id to be sampled behind the known ones; nothing else is on its way.
  runner_.open_slot(active.slot, {.sampling = &active.request.sampling,
                                  .prompt_ids = ids.first(prompt),
                                  .output_ids = ids.subspan(prompt, ids.size() - prompt - 1),
                                  .stop_token_ids = active.request.stop_token_ids,
                                  .mask = active.request.token_mask.get()});
  active.open_epoch = active.num_preemptions;
}

int32_t EngineLoop::run_vision(int32_t num_decoding, int32_t num_prefill) {
  // Where the tower gives way by itself, a slice is what a picture that is no longer wanted may cost at most.
  if (info_.vision_apart) num_decoding = num_prefill = 0;
  double flops = pacer_.vision_flops(num_decoding, num_prefill, vision_.work_priority());
  if (info_.vision_apart) flops = std::max(flops, kFirstSliceApart);
  const VisionProgress progress = vision_.advance(flops);
  pacer_.record_vision(progress.flops, progress.ns);
  return progress.flops > 0 ? 1 : 0;
}

void EngineLoop::collect() {
  Flight& flight = flights_[oldest_];
  oldest_ = (oldest_ + 1) % flights_.size();
  --num_in_flight_;
  const StepResult result = runner_.collect();
  const int64_t now = clock_.now_ns();
  pacer_.record_step(flight.num_decode, flight.num_prefill, now - std::max(flight.begin_ns, last_collect_ns_));
  last_collect_ns_ = now;
  vision_.release(flight.attempt);
  size_t next_token = 0;
  for (const StepEntry& entry : flight.entries) {
    auto& active = static_cast<ActiveRequest&>(*entry.sequence);
    SampledToken* token = entry.samples ? &result.tokens[next_token++] : nullptr;
    if (!scheduler_.complete(entry, token == nullptr ? 0 : token->id)) continue;
    record_spans(active, entry, flight, result.sampling_ns, now);
    if (token != nullptr) deliver(active, *token);
  }
}

void EngineLoop::record_spans(ActiveRequest& active, const StepEntry& entry, const Flight& flight, int64_t sampling_ns,
                              int64_t end_ns) {
  const bool decodes = entry.first >= active.num_prompt && entry.count == 1;
  if (decodes) {  // from token to token, waiting for the step included
    active.spans.push_back({Span::kDecode, active.covered_ns, end_ns});
  } else {
    if (active.covered_ns < flight.begin_ns) {
      active.spans.push_back({Span::kQueue, active.covered_ns, flight.begin_ns});
    }
    const bool first_token = entry.samples && active.num_output() == 1 + active.num_pending;
    const int64_t prefilled = first_token && sampling_ns > 0 ? sampling_ns : end_ns;
    active.spans.push_back({Span::kPrefill, std::max(active.covered_ns, flight.begin_ns), prefilled});
    if (first_token) active.spans.push_back({Span::kFirstToken, prefilled, end_ns});
  }
  active.covered_ns = end_ns;
}

void EngineLoop::deliver(ActiveRequest& active, SampledToken& token) {
  const int32_t num_output = active.num_output() - active.num_pending;
  if (num_output == 1) prompt_tokens_ += active.num_prompt;
  ++generation_tokens_;
  const std::vector<int32_t>& stops = active.request.stop_token_ids;
  const int32_t id = token.id;
  const bool stopped = std::find(stops.begin(), stops.end(), id) != stops.end();
  EngineEvent event = event_of(active);
  event.tokens.push_back(std::move(token));
  if (stopped) {
    event.finish = FinishReason::kStop;
    event.stop_token_id = id;
  } else if (num_output >= active.max_tokens) {
    event.finish = FinishReason::kLength;
  }
  if (event.finish) {
    if (active.open_epoch >= 0 && active.slot >= 0) runner_.close_slot(active.slot);
    scheduler_.end(active);
    ended_.push_back(&active);
  }
  active.request.on_event(std::move(event));
}

void EngineLoop::finish(ActiveRequest& active, FinishReason reason, std::string error) {
  if (active.slot >= 0 && active.open_epoch == active.num_preemptions) runner_.close_slot(active.slot);
  scheduler_.end(active);
  ended_.push_back(&active);
  const int64_t now = clock_.now_ns();
  if (active.covered_ns < now) {
    active.spans.push_back({active.num_output() > 0 ? Span::kDecode : Span::kQueue, active.covered_ns, now});
  }
  EngineEvent event = event_of(active);
  event.finish = reason;
  event.error = std::move(error);
  active.request.on_event(std::move(event));
}

EngineEvent EngineLoop::event_of(ActiveRequest& active) const {
  EngineEvent event;
  event.spans = std::move(active.spans);
  active.spans.clear();
  event.num_prompt_tokens = active.num_prompt;
  event.num_cached_tokens = active.num_cached;
  event.num_preemptions = active.num_preemptions;
  return event;
}

void EngineLoop::take_ended() {
  for (const EndedSequence& ended : scheduler_.ended()) {
    finish(static_cast<ActiveRequest&>(*ended.sequence), ended.reason);
  }
  scheduler_.clear_ended();
}

void EngineLoop::fail_requests_of_failed_pictures() {
  if (std::exchange(failed_pictures_, vision_.num_failed()) == vision_.num_failed()) return;
  for (const auto& [id, active] : requests_) {
    if (active->state == Sequence::State::kEnded) continue;
    for (const auto& picture : active->pictures) {
      if (!picture->failed()) continue;
      finish(*active, FinishReason::kFailed, picture->error());
      break;
    }
  }
}

void EngineLoop::forget_ended() {
  if (ended_.empty()) return;
  std::erase_if(ended_, [&](ActiveRequest* active) {
    if (active->num_in_flight > 0) return false;
    num_drafts_ -= static_cast<int32_t>(active->is_draft());
    requests_.erase(active->id);
    return true;
  });
}

void EngineLoop::observe(int64_t begin_ns, int32_t num_slices) {
  observer_->on_step({.step_id = num_steps_,
                      .begin_ns = begin_ns,
                      .end_ns = clock_.now_ns(),
                      .num_seqs = static_cast<int32_t>(request_ids_.size()),
                      .num_prefill_tokens = step_prefill_,
                      .num_decode_tokens = step_decode_,
                      .num_vision_stages = num_slices,
                      .request_ids = request_ids_});
}

EngineStats EngineLoop::stats() const {
  const BlockPool& pool = scheduler_.pool();
  return {.num_running = static_cast<int32_t>(scheduler_.running().size()),
          .num_waiting = static_cast<int32_t>(scheduler_.waiting().size()),
          .num_drafts = num_drafts_,
          .num_blocks = pool.num_blocks(),
          .num_blocks_used = pool.num_blocks() - pool.num_free(),
          .num_blocks_cached = pool.num_cached(),
          .block_size = pool.block_size(),
          .block_bytes = info_.block_bytes,
          .image_rows = info_.num_image_rows,
          .image_rows_used = vision_.rows_used(),
          .image_host_bytes = vision_.host_bytes(),
          .prefix_queries_tokens = scheduler_.prefix_queries_tokens(),
          .prefix_hits_tokens = scheduler_.prefix_hits_tokens(),
          .image_queries = vision_.queries(),
          .image_hits = vision_.hits(),
          .images_encoded = vision_.num_encoded(),
          .preemptions = scheduler_.num_preemptions(),
          .steps = num_steps_,
          .prompt_tokens = prompt_tokens_,
          .generation_tokens = generation_tokens_};
}

}  // namespace glimpse
