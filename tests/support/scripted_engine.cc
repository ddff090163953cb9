#include "tests/support/scripted_engine.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace glimpse {

namespace {

constexpr size_t kMaxPrefixes = 256;
constexpr size_t kMaxSeen = 4096;

int64_t ns_of(double ms) {
  return static_cast<int64_t>(ms * 1e6);
}

}  // namespace

class ScriptedEngine::Image final : public EngineImage {
 public:
  Image(const ImageKey& key, const GridThw& grid, int32_t num_tokens)
      : key_(key), grid_(grid), num_tokens_(num_tokens) {}

  const ImageKey& key() const override { return key_; }
  const GridThw& grid() const override { return grid_; }
  int32_t num_tokens() const override { return num_tokens_; }
  bool encoded() const override { return encoded_.load(std::memory_order_acquire); }
  std::vector<SpanRecord> spans() const override {
    if (!encoded()) return {};
    return {span_};
  }

  void set_encoded(int64_t end_ns) {
    span_ = {Span::kVision, begin_ns, end_ns};
    encoded_.store(true, std::memory_order_release);
  }

  PixelValues pixels;
  std::vector<std::function<void()>> on_encoded;
  int64_t begin_ns = 0;  // 0: not begun

 private:
  const ImageKey key_;
  const GridThw grid_;
  const int32_t num_tokens_;
  SpanRecord span_;
  std::atomic<bool> encoded_{false};
};

ScriptedEngine::ScriptedEngine(const ScriptedEngineOptions& options, std::function<Script(const EngineRequest&)> script,
                               EngineObserver* observer)
    : options_(options), script_(std::move(script)), observer_(observer), thread_([this] { run(); }) {}

ScriptedEngine::~ScriptedEngine() {
  stop(clock_.now_ns());
  {
    const std::lock_guard lock(mutex_);
    quit_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

Result<DType> ScriptedEngine::prepare_vision() {
  if (!options_.vision) return options_.vision.error();
  return DType::kF32;
}

ImageRef ScriptedEngine::find_image(const ImageKey& key) {
  const std::lock_guard lock(mutex_);
  ++stats_.image_queries;
  const auto found = images_.find(key);
  if (found == images_.end()) return nullptr;
  ++stats_.image_hits;
  return found->second;
}

Result<Buffer> ScriptedEngine::allocate_pixels(size_t bytes) {
  constexpr size_t kAlignment = 64;
  void* data = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (data == nullptr) return Error{ErrorCode::kResource, "out of memory"};
  return Buffer(data, bytes, [](void* p, size_t) { std::free(p); });
}

Result<ImageRef> ScriptedEngine::add_image(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority,
                                           std::function<void()> on_encoded) {
  const int64_t num_tokens = grid.num_tokens(options_.spatial_merge_size);
  if (num_tokens > options_.max_model_len) {
    return Error{ErrorCode::kTooLarge, "the picture has " + std::to_string(num_tokens) + " tokens"};
  }
  const std::lock_guard lock(mutex_);
  auto& image = images_[key];
  if (image == nullptr) {
    image = std::make_shared<Image>(key, grid, static_cast<int32_t>(num_tokens));
    image->pixels = std::move(pixels);
    to_encode_.push_back(image);
    stats_.image_rows_used += num_tokens;
    for (auto other = images_.begin(); other != images_.end() && stats_.image_rows_used > options_.image_rows;) {
      if (other->second != image && other->second.use_count() == 1) {
        stats_.image_rows_used -= other->second->num_tokens();
        other = images_.erase(other);
      } else {
        ++other;
      }
    }
  }
  if (on_encoded) {
    if (image->encoded()) {
      on_encoded();
    } else {
      image->on_encoded.push_back(std::move(on_encoded));
    }
  }
  wake_.notify_all();
  return ImageRef(image);
}

Result<uint64_t> ScriptedEngine::submit(EngineRequest request) {
  if (request.prompt.num_tokens() + (request.max_tokens > 0 ? 1 : 0) > options_.max_model_len) {
    return Error{ErrorCode::kTooLarge, "the prompt has " + std::to_string(request.prompt.num_tokens()) + " tokens"};
  }
  const std::lock_guard lock(mutex_);
  if (stopping_) return Error{ErrorCode::kOverloaded, "the engine is stopping"};
  if (stats_.num_waiting >= options_.max_waiting) return Error{ErrorCode::kOverloaded, "the queue is full"};
  if (seen_.size() < kMaxSeen) {
    seen_.push_back(request);
    seen_.back().on_event = nullptr;
  }
  auto running = std::make_shared<Running>();
  running->id = next_id_++;
  running->request = std::move(request);
  ++stats_.num_waiting;
  requests_.emplace(running->id, running);
  wake_.notify_all();
  return running->id;
}

void ScriptedEngine::cancel(uint64_t request) {
  const std::lock_guard lock(mutex_);
  const auto found = requests_.find(request);
  if (found == requests_.end()) return;
  found->second->cancelled = true;
  wake_.notify_all();
}

EngineStats ScriptedEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = stats_;
  stats.num_blocks = options_.max_running * options_.max_model_len / options_.block_size;
  stats.block_size = options_.block_size;
  stats.image_rows = options_.image_rows;
  return stats;
}

void ScriptedEngine::stop(int64_t deadline_ns) {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  const auto empty = [this] { return requests_.empty(); };
  const int64_t left_ns = std::max<int64_t>(0, deadline_ns - clock_.now_ns());
  idle_.wait_for(lock, std::chrono::nanoseconds(left_ns), empty);
  for (auto& [id, running] : requests_) running->cancelled = true;
  wake_.notify_all();
  idle_.wait(lock, empty);
}

int64_t ScriptedEngine::num_cancelled() const {
  const std::lock_guard lock(mutex_);
  return num_cancelled_;
}

std::vector<EngineRequest> ScriptedEngine::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void ScriptedEngine::run() {
  std::unique_lock lock(mutex_);
  while (!quit_) {
    const int64_t due_ns = step(lock);
    if (requests_.empty()) idle_.notify_all();
    if (quit_) break;
    const int64_t now_ns = clock_.now_ns();
    if (due_ns > now_ns) wake_.wait_for(lock, std::chrono::nanoseconds(std::min<int64_t>(due_ns - now_ns, 50'000'000)));
  }
}

bool ScriptedEngine::images_ready(const EngineRequest& request) const {
  return std::all_of(request.images.begin(), request.images.end(), [](const ImageRef& i) { return i->encoded(); });
}

int32_t ScriptedEngine::cached_prefix(const EngineRequest& request) const {
  const auto& ids = request.prompt.token_ids;
  size_t longest = 0;
  for (const auto& [salt, known] : prefixes_) {
    if (salt != request.cache_salt) continue;
    const size_t most = std::min(ids.size(), known.size());
    const size_t same = static_cast<size_t>(
        std::mismatch(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(most), known.begin()).first - ids.begin());
    longest = std::max(longest, same);
  }
  // The last token is always computed: its logits are needed.
  longest = std::min(longest, ids.size() - 1);
  return static_cast<int32_t>(longest) / options_.block_size * options_.block_size;
}

void ScriptedEngine::remember_prefix(const EngineRequest& request) {
  prefixes_.emplace_back(request.cache_salt, request.prompt.token_ids);
  if (prefixes_.size() > kMaxPrefixes) prefixes_.pop_front();
}

void ScriptedEngine::encode(int64_t now_ns, std::vector<std::function<void()>>& callbacks) {
  if (to_encode_.empty()) return;
  const auto image = to_encode_.front();
  if (image->begin_ns == 0) image->begin_ns = now_ns;
  if (now_ns - image->begin_ns < ns_of(options_.vision_ms)) return;
  image->set_encoded(now_ns);
  image->pixels = {};
  callbacks.insert(callbacks.end(), image->on_encoded.begin(), image->on_encoded.end());
  image->on_encoded.clear();
  to_encode_.pop_front();
  ++stats_.images_encoded;
}

void ScriptedEngine::admit(Running& running, int64_t now_ns) {
  running.admitted = true;
  running.admitted_ns = running.last_ns = now_ns;
  running.num_cached = cached_prefix(running.request);
  stats_.prefix_queries_tokens += running.request.prompt.num_tokens();
  stats_.prefix_hits_tokens += running.num_cached;
  stats_.prompt_tokens += running.request.prompt.num_tokens();
  if (running.request.max_tokens > 0) {
    running.script = script_(running.request);
    if (running.script.ids.size() > static_cast<size_t>(running.request.max_tokens)) {
      running.script.ids.resize(static_cast<size_t>(running.request.max_tokens));
      running.script.finish = FinishReason::kLength;
      running.script.stop_token_id.reset();
    }
  } else {
    running.script = {.finish = FinishReason::kLength};
  }
  remember_prefix(running.request);
  running.due_ns = now_ns + ns_of(running.script.first_ms);
  --stats_.num_waiting;
  ++stats_.num_running;
}

int64_t ScriptedEngine::step(std::unique_lock<std::mutex>& lock) {
  const int64_t now_ns = clock_.now_ns();
  std::vector<std::function<void()>> callbacks;
  encode(now_ns, callbacks);
  std::vector<std::pair<std::shared_ptr<Running>, EngineEvent>> events;
  std::vector<const std::string*> ids;
  int64_t due_ns = to_encode_.empty() ? INT64_MAX : to_encode_.front()->begin_ns + ns_of(options_.vision_ms);
  int32_t num_prefill = 0;
  int32_t num_decode = 0;
  for (auto entry = requests_.begin(); entry != requests_.end();) {
    const std::shared_ptr<Running> running = entry->second;
    const EngineRequest& request = running->request;
    EngineEvent event{.num_prompt_tokens = request.prompt.num_tokens(), .num_cached_tokens = running->num_cached};
    const bool late = request.deadline_ns && now_ns >= *request.deadline_ns;
    if (running->cancelled || late) {
      event.finish = running->cancelled ? FinishReason::kCancelled : FinishReason::kDeadline;
      if (running->cancelled) ++num_cancelled_;
    } else if (!running->admitted && stats_.num_running < options_.max_running && images_ready(request)) {
      admit(*running, now_ns);
      num_prefill += request.prompt.num_tokens() - running->num_cached;
      event.num_cached_tokens = running->num_cached;
      event.spans = {{Span::kQueue, request.arrival_ns, now_ns}};
    }
    if (!event.finish && running->admitted && now_ns >= running->due_ns) {
      const bool first = running->next == 0;
      event.spans.push_back({first ? Span::kPrefill : Span::kDecode, running->last_ns, now_ns});
      running->last_ns = now_ns;
      const Script& script = running->script;
      if (running->next < script.ids.size()) {
        SampledToken token{.id = script.ids[running->next++]};
        if (request.sampling.logprobs >= 0) {
          token.logprob = -0.5f;
          for (int i = 0; i < request.sampling.logprobs; ++i) {
            token.top_logprobs.emplace_back(i == 0 ? token.id : i, -0.5f - static_cast<float>(i));
          }
        }
        event.tokens.push_back(std::move(token));
        ++stats_.generation_tokens;
        ++num_decode;
        running->due_ns = std::max(running->due_ns + ns_of(script.per_token_ms), now_ns);
      }
      if (running->next == script.ids.size()) {
        event.finish = script.finish;
        event.error = script.error;
        if (script.finish == FinishReason::kStop && script.stop_token_id) {
          event.stop_token_id = script.stop_token_id;
          event.tokens.push_back({.id = *script.stop_token_id});
        }
      }
    }
    if (!event.finish) due_ns = std::min(due_ns, running->admitted ? running->due_ns : now_ns + 1'000'000);
    if (!event.tokens.empty() || !event.spans.empty() || event.finish) {
      ids.push_back(&running->request.id);
      events.emplace_back(running, std::move(event));
    }
    if (events.empty() || events.back().first != running || !events.back().second.finish) {
      ++entry;
      continue;
    }
    --(running->admitted ? stats_.num_running : stats_.num_waiting);
    entry = requests_.erase(entry);
  }
  if (events.empty() && callbacks.empty()) return due_ns;
  ++stats_.steps;
  const int64_t step_id = stats_.steps;
  lock.unlock();
  for (auto& [running, event] : events) running->request.on_event(std::move(event));
  for (const auto& callback : callbacks) callback();
  if (observer_ != nullptr) {
    observer_->on_step({.step_id = step_id,
                        .begin_ns = now_ns,
                        .end_ns = clock_.now_ns(),
                        .num_seqs = static_cast<int32_t>(events.size()),
                        .num_prefill_tokens = num_prefill,
                        .num_decode_tokens = num_decode,
                        .request_ids = ids});
  }
  events.clear();  // callbacks' owners may call back into this object
  // A step takes some time, and others want the lock: std::mutex would not let them in between.
  std::this_thread::sleep_for(std::chrono::microseconds(5));
  lock.lock();
  return due_ns;
}

}  // namespace glimpse
