#pragma once

// Every picture the engine knows, by content: those waiting for the tower with their pixels, those encoded as rows on
// the device, and those spilled to host memory when the rows were needed. Least recently used first out; what an
// ImageRef pins is spilled but never forgotten, if need be to memory of its own beside VisionCacheOptions::host_memory.
// A picture that comes back has the same bytes.
//
// find and add from any thread; the rest on the engine's.

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/clock.h"
#include "engine/request.h"
#include "engine/row_ranges.h"
#include "engine/step_runner.h"

namespace glimpse {

struct VisionCacheOptions {
  std::span<std::byte> host_memory;               // for spilled embeddings; outlives the cache
  int64_t max_queued_bytes = int64_t{512} << 20;  // of pixels that wait for the tower
  int32_t max_queued = 1024;                      // pictures that wait
};

class CachedImage final : public EngineImage {
 public:
  CachedImage(const ImageKey& key, const GridThw& grid, int32_t num_tokens, PixelValues pixels, Priority priority)
      : key_(key), grid_(grid), num_tokens_(num_tokens), pixels_(std::move(pixels)), priority_(priority) {}

  const ImageKey& key() const override { return key_; }
  const GridThw& grid() const override { return grid_; }
  int32_t num_tokens() const override { return num_tokens_; }
  bool encoded() const override { return state_.load(std::memory_order_acquire) == State::kEncoded; }
  std::vector<SpanRecord> spans() const override;
  // The tower could not encode it; error() says why.
  bool failed() const { return state_.load(std::memory_order_acquire) == State::kFailed; }
  const std::string& error() const { return error_; }
  Priority priority() const { return priority_.load(std::memory_order_relaxed); }

 private:
  friend class VisionCache;
  enum class State : uint8_t { kQueued, kEncoding, kEncoded, kFailed };

  const ImageKey key_;
  const GridThw grid_;
  const int32_t num_tokens_;
  std::atomic<State> state_{State::kQueued};
  mutable std::mutex spans_mutex_;
  std::vector<SpanRecord> spans_;
  std::string error_;  // written before state_
  // The engine's thread.
  PixelValues pixels_;
  std::atomic<Priority> priority_;
  int32_t first_row_ = -1;     // on the device, or -1
  std::byte* host_ = nullptr;  // the copy in host memory: in the cache's, or own_
  std::unique_ptr<std::byte[]> own_;
  int64_t last_step_ = 0;  // that read it
};

class VisionCache {
 public:
  // `runner` and `clock` outlive it.
  VisionCache(const VisionCacheOptions& options, StepRunner& runner, const Clock& clock);

  // Any thread; see Engine.
  ImageRef find(const ImageKey& key);
  // `on_encoded` is called by run_callbacks().
  Result<ImageRef> add(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority priority,
                       std::function<void()> on_encoded);

  // The engine's thread.
  // Whether there is something for the tower to do, or a callback to call.
  bool has_work() const {
    return encoding_ != nullptr || num_queued_.load(std::memory_order_acquire) > 0 ||
           has_due_.load(std::memory_order_acquire);
  }
  Priority work_priority() const;
  // A slice of about max_flops of the picture in the tower, or of the next one. `flops` is 0 when nothing could be
  // done.
  VisionProgress advance(double max_flops);
  void run_callbacks();
  // A request of this class waits for it.
  void raise(CachedImage& image, Priority priority);
  // Brings the rows to the device, if they are not there, and keeps them there until `step` is released. Steps only
  // rise. False: not encoded, or no room beside what is kept.
  bool acquire(CachedImage& image, int64_t step);
  void release(int64_t step) { released_step_ = step; }
  int32_t first_row(const CachedImage& image) const { return image.first_row_; }

  // Any thread.
  int64_t queries() const { return queries_.load(std::memory_order_relaxed); }
  int64_t hits() const { return hits_.load(std::memory_order_relaxed); }
  int64_t num_encoded() const { return num_encoded_.load(std::memory_order_relaxed); }
  // The engine's thread.
  int64_t rows_used() const { return num_rows_ - ranges_.num_free(); }
  int64_t host_bytes() const { return host_bytes_; }
  int64_t num_failed() const { return num_failed_; }

 private:
  using ImagePtr = std::shared_ptr<CachedImage>;

  bool begin_next();
  ImagePtr take_next();
  void finish(CachedImage& image);
  void fail(CachedImage& image, const Error& error);
  void call_back(const CachedImage& image);
  void record_span(CachedImage& image, int64_t begin_ns, int64_t end_ns) const;
  int32_t allocate_rows(int32_t count);
  void spill(const ImagePtr& image);
  bool keep_on_host(const ImagePtr& image);
  CachedImage* oldest_on_host();
  void drop_host_copy(CachedImage& image);
  size_t bytes_of(const CachedImage& image) const { return static_cast<size_t>(image.num_tokens_) * row_bytes_; }

  const VisionCacheOptions options_;
  StepRunner& runner_;
  const Clock& clock_;
  const int32_t num_rows_;
  const size_t row_bytes_;
  const int32_t max_tokens_;

  std::mutex mutex_;  // of images_, queue_, callbacks_, queued_bytes_
  std::map<ImageKey, ImagePtr> images_;
  std::vector<ImagePtr> queue_;  // in order of arrival
  int64_t queued_bytes_ = 0;
  std::multimap<const CachedImage*, std::function<void()>> callbacks_;  // to call when it is encoded or has failed
  std::vector<std::function<void()>> due_;
  std::atomic<int32_t> num_queued_{0};
  std::atomic<bool> has_due_{false};
  std::atomic<int64_t> queries_{0};
  std::atomic<int64_t> hits_{0};
  std::atomic<int64_t> num_encoded_{0};

  ImagePtr encoding_;
  RowRanges ranges_;
  RowRanges host_ranges_;  // of options_.host_memory
  int64_t host_bytes_ = 0;
  int64_t num_failed_ = 0;
  int64_t step_ = 0;  // the newest that acquired a picture
  int64_t released_step_ = 0;
};

}  // namespace glimpse
