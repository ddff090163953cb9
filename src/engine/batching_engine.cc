#include "engine/batching_engine.h"

#include <array>
#include <chrono>

#include "base/check.h"

namespace glimpse {

namespace {

// How long the thread sleeps when all that there is to do waits for something that will not wake it (rows that a step
// in flight reads).
constexpr auto kNap = std::chrono::milliseconds(1);

// Heights and widths of pictures that are common: where shapes are tuned, other pictures go the way of the nearest of
// them. The first is enough elsewhere.
constexpr std::array<std::pair<int32_t, int32_t>, 5> kWarmUpPictures = {
    {{112, 112}, {480, 640}, {1120, 1120}, {1080, 1920}, {2400, 1080}}};
constexpr int32_t kWarmUpPatch = 14;

}  // namespace

BatchingEngine::BatchingEngine(StepRunner& runner, const Clock& clock, const BatchingEngineOptions& options,
                               EngineObserver* observer)
    : runner_(runner),
      clock_(clock),
      model_key_(options.model_key),
      max_num_waiting_(options.loop.max_num_waiting),
      loop_(runner, clock, options.loop, observer) {
  stats_.write(loop_.stats());
  thread_ = std::thread([this] { run(); });
}

BatchingEngine::~BatchingEngine() {
  stop(clock_.now_ns());
}

ImageRef BatchingEngine::find_image(const ImageKey& key) {
  return loop_.vision().find(key);
}

Result<ImageRef> BatchingEngine::add_image(const ImageKey& key, const GridThw& grid, PixelValues pixels,
                                           Priority priority, std::function<void()> on_encoded) {
  auto image = loop_.vision().add(key, grid, std::move(pixels), priority, std::move(on_encoded));
  wake();
  return image;
}

Result<uint64_t> BatchingEngine::submit(EngineRequest request) {
  CHECK(request.on_event != nullptr);
  ASSIGN_OR_RETURN(auto active, make_active(std::move(request), runner_.info(), model_key_, clock_.now_ns()));
  uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return Error{ErrorCode::kOverloaded, "the engine is stopping"};
    const auto waiting = num_waiting_ + static_cast<int32_t>(inbox_.requests.size());
    // A draft that waits gives way to a request (Scheduler::add).
    if (waiting >= max_num_waiting_ && (active->is_draft() || num_drafts_ == 0)) {
      return Error{ErrorCode::kOverloaded, std::to_string(waiting) + " requests are waiting already"};
    }
    id = active->id = next_id_++;
    inbox_.requests.push_back(std::move(active));
  }
  changed_.notify_all();
  return id;
}

void BatchingEngine::cancel(uint64_t request) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.cancels.push_back(request);
  }
  changed_.notify_all();
}

void BatchingEngine::wake() {
  {
    const std::lock_guard lock(mutex_);
    inbox_.woken = true;
  }
  changed_.notify_all();
}

EngineStats BatchingEngine::stats() const {
  EngineStats stats = stats_.read();
  stats.image_queries = loop_.vision().queries();  // these change without the thread
  stats.image_hits = loop_.vision().hits();
  return stats;
}

void BatchingEngine::stop(int64_t deadline_ns) {
  {
    const std::lock_guard lock(mutex_);
    stop_deadline_ns_ = stopping_ ? std::min(stop_deadline_ns_, deadline_ns) : deadline_ns;
    stopping_ = true;
  }
  changed_.notify_all();
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

void BatchingEngine::run() {
  Inbox inbox;
  bool worked = true;
  while (true) {
    bool late = false;
    bool stopping = false;
    {
      std::unique_lock lock(mutex_);
      const auto has_news = [&] { return !inbox_.empty() || stopping_; };
      if (!loop_.has_work()) {
        changed_.wait(lock, [&] { return has_news() || loop_.has_work(); });
      } else if (!worked) {
        changed_.wait_for(lock, kNap, [&] { return !inbox_.empty(); });
      }
      std::swap(inbox, inbox_);
      num_waiting_ += static_cast<int32_t>(inbox.requests.size());
      stopping = stopping_;
      late = stopping && clock_.now_ns() >= stop_deadline_ns_;
    }
    for (auto& request : inbox.requests) loop_.add(std::move(request));
    for (const uint64_t id : inbox.cancels) loop_.cancel(id);
    inbox.requests.clear();
    inbox.cancels.clear();
    inbox.woken = false;
    if (late) loop_.cancel_all();
    if (stopping && !loop_.has_requests()) break;
    worked = loop_.step();
    const EngineStats stats = loop_.stats();
    stats_.write(stats);
    const std::lock_guard lock(mutex_);
    num_waiting_ = stats.num_waiting;
    num_drafts_ = stats.num_drafts;
  }
  stats_.write(loop_.stats());
}

Status warm_up(StepRunner& runner, bool vision) {
  const StepRunnerInfo& info = runner.info();
  const int32_t num_prompt = std::min(
      {int32_t{32}, info.max_num_batched_tokens, info.max_model_len - 4, info.num_blocks * info.block_size - 4});
  if (num_prompt > 0) {
    const std::vector<int32_t> ids(static_cast<size_t>(num_prompt) + 4, 0);
    std::vector<int32_t> positions(ids.size());
    std::vector<int32_t> blocks(static_cast<size_t>((ids.size() - 1) / static_cast<size_t>(info.block_size) + 1));
    for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
    for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = static_cast<int32_t>(i);
    SamplingParams sampling;
    sampling.seed = 0;
    runner.open_slot(0, {.sampling = &sampling});
    for (int32_t first = 0, count = num_prompt; first < static_cast<int32_t>(ids.size()); first += count, count = 1) {
      const auto part = [&](const std::vector<int32_t>& all) {
        return std::span(all).subspan(static_cast<size_t>(first), static_cast<size_t>(first == 0 ? num_prompt : 1));
      };
      Batch batch;
      batch.entries.push_back({.token_ids = part(ids),
                               .positions = {part(positions), part(positions), part(positions)},
                               .num_computed = first,
                               .block_ids = blocks,
                               .wants_logits = true,
                               .slot = 0});
      runner.submit(batch);
      runner.collect();
    }
    runner.close_slot(0);
  }
  if (!vision) return {};
  ASSIGN_OR_RETURN(const DType dtype, runner.prepare_vision());
  for (const auto& [height, width] : kWarmUpPictures) {
    const int32_t side = kWarmUpPatch * info.spatial_merge_size;
    const GridThw grid{.t = 1,
                       .h = (height + side / 2) / side * info.spatial_merge_size,
                       .w = (width + side / 2) / side * info.spatial_merge_size};
    if (grid.num_tokens(info.spatial_merge_size) > std::min(info.num_image_rows, info.max_model_len)) continue;
    const std::vector<std::byte> pixels(static_cast<size_t>(grid.num_patches() * info.patch_values) *
                                        dtype_bytes(dtype));
    RETURN_IF_ERROR(runner.begin_image(pixels.data(), grid, 0));
    while (!runner.advance_image(1e18).done) {
    }
    if (!info.tunes_shapes) break;
  }
  return {};
}

}  // namespace glimpse
