#include "engine/vision_cache.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"

namespace glimpse {

namespace {

// Slices of one picture that an account keeps apart; later ones lengthen the last.
constexpr size_t kMaxSpans = 1024;

int32_t rows_in(std::span<const std::byte> memory, size_t row_bytes) {
  return static_cast<int32_t>(
      std::min<size_t>(memory.size() / std::max<size_t>(row_bytes, 1), std::numeric_limits<int32_t>::max()));
}

}  // namespace

std::vector<SpanRecord> CachedImage::spans() const {
  const std::lock_guard lock(spans_mutex_);
  return spans_;
}

VisionCache::VisionCache(const VisionCacheOptions& options, StepRunner& runner, const Clock& clock)
    : options_(options),
      runner_(runner),
      clock_(clock),
      num_rows_(runner.info().num_image_rows),
      row_bytes_(runner.info().image_row_bytes),
      max_tokens_(std::min(runner.info().num_image_rows, runner.info().max_model_len)),
      ranges_(runner.info().num_image_rows),
      host_ranges_(rows_in(options.host_memory, row_bytes_)) {}

ImageRef VisionCache::find(const ImageKey& key) {
  queries_.fetch_add(1, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  const auto found = images_.find(key);
  if (found == images_.end() || found->second->failed()) return nullptr;
  hits_.fetch_add(1, std::memory_order_relaxed);
  return found->second;
}

Result<ImageRef> VisionCache::add(const ImageKey& key, const GridThw& grid, PixelValues pixels, Priority priority,
                                  std::function<void()> on_encoded) {
  const int64_t tokens = grid.num_tokens(runner_.info().spatial_merge_size);
  if (grid.t != 1 || grid.h <= 0 || grid.w <= 0 || tokens <= 0) {
    return Error{ErrorCode::kInvalidArgument, "a picture of " + std::to_string(grid.t) + " x " +
                                                  std::to_string(grid.h) + " x " + std::to_string(grid.w) + " patches"};
  }
  if (tokens > max_tokens_) {
    return Error{ErrorCode::kTooLarge, "the picture has " + std::to_string(tokens) + " tokens; the context holds " +
                                           std::to_string(max_tokens_)};
  }
  const std::lock_guard lock(mutex_);
  const auto found = images_.find(key);
  if (found != images_.end() && !found->second->failed()) {
    const ImagePtr& image = found->second;
    if (on_encoded) {
      if (image->encoded()) {
        due_.push_back(std::move(on_encoded));
        has_due_.store(true, std::memory_order_release);
      } else {
        callbacks_.emplace(image.get(), std::move(on_encoded));
      }
    }
    if (priority < image->priority()) image->priority_.store(priority, std::memory_order_relaxed);
    return ImageRef(image);
  }
  const auto bytes = static_cast<int64_t>(pixels.bytes);
  if (queue_.size() >= static_cast<size_t>(options_.max_queued) ||
      (!queue_.empty() && queued_bytes_ + bytes > options_.max_queued_bytes)) {
    return Error{ErrorCode::kOverloaded, std::to_string(queue_.size()) + " pictures wait for the vision tower already"};
  }
  auto image = std::make_shared<CachedImage>(key, grid, static_cast<int32_t>(tokens), std::move(pixels), priority);
  images_[key] = image;
  queue_.push_back(image);
  queued_bytes_ += bytes;
  if (on_encoded) callbacks_.emplace(image.get(), std::move(on_encoded));
  num_queued_.store(static_cast<int32_t>(queue_.size()), std::memory_order_release);
  return ImageRef(std::move(image));
}

Priority VisionCache::work_priority() const {
  if (encoding_ != nullptr) return encoding_->priority();
  return Priority::kBackground;
}

VisionProgress VisionCache::advance(double max_flops) {
  // Somebody else's turn when nobody holds the picture any more; our own two references are the map's and encoding_.
  if (encoding_ != nullptr && !runner_.image_running()) {
    const std::lock_guard lock(mutex_);
    if (encoding_.use_count() == 2) {
      runner_.abandon_image();
      ranges_.release(encoding_->first_row_, encoding_->num_tokens_);
      encoding_->first_row_ = -1;
      callbacks_.erase(encoding_.get());
      images_.erase(encoding_->key_);
      encoding_.reset();
    }
  }
  const int64_t begin = clock_.now_ns();
  if (encoding_ == nullptr && !begin_next()) return {};
  const VisionProgress progress = runner_.advance_image(max_flops);
  record_span(*encoding_, begin, clock_.now_ns());
  if (progress.done) {
    num_encoded_.fetch_add(1, std::memory_order_relaxed);
    finish(*encoding_);
    encoding_.reset();
  }
  return progress;
}

bool VisionCache::begin_next() {
  while (true) {
    ImagePtr image = take_next();
    if (image == nullptr) return false;
    const int32_t row = allocate_rows(image->num_tokens_);
    if (row < 0) {  // all rows are read by steps in flight: soon
      const std::lock_guard lock(mutex_);
      queued_bytes_ += static_cast<int64_t>(image->pixels_.bytes);
      queue_.insert(queue_.begin(), std::move(image));
      num_queued_.store(static_cast<int32_t>(queue_.size()), std::memory_order_release);
      return false;
    }
    image->first_row_ = row;
    if (auto status = runner_.begin_image(image->pixels_.source(), image->grid_, row); !status) {
      ranges_.release(row, image->num_tokens_);
      image->first_row_ = -1;
      fail(*image, status.error());
      continue;
    }
    image->state_.store(CachedImage::State::kEncoding, std::memory_order_release);
    encoding_ = std::move(image);
    return true;
  }
}

// The first picture of the most urgent class; those that nobody holds any more are dropped on the way.
VisionCache::ImagePtr VisionCache::take_next() {
  const std::lock_guard lock(mutex_);
  std::erase_if(queue_, [&](const ImagePtr& image) {
    if (image.use_count() > 2) return false;
    queued_bytes_ -= static_cast<int64_t>(image->pixels_.bytes);
    callbacks_.erase(image.get());
    images_.erase(image->key_);
    return true;
  });
  const auto best = std::min_element(
      queue_.begin(), queue_.end(), [](const ImagePtr& a, const ImagePtr& b) { return a->priority() < b->priority(); });
  ImagePtr image;
  if (best != queue_.end()) {
    image = *best;
    queue_.erase(best);
    queued_bytes_ -= static_cast<int64_t>(image->pixels_.bytes);
  }
  num_queued_.store(static_cast<int32_t>(queue_.size()), std::memory_order_release);
  return image;
}

void VisionCache::fail(CachedImage& image, const Error& error) {
  image.error_ = error.message;
  ++num_failed_;
  image.state_.store(CachedImage::State::kFailed, std::memory_order_release);
  image.pixels_ = {};
  const std::lock_guard lock(mutex_);
  images_.erase(image.key_);  // whoever brings it again gets another try
  call_back(image);
}

void VisionCache::finish(CachedImage& image) {
  image.pixels_ = {};
  image.last_step_ = step_;
  image.state_.store(CachedImage::State::kEncoded, std::memory_order_release);
  const std::lock_guard lock(mutex_);
  call_back(image);
}

// With the lock held.
void VisionCache::call_back(const CachedImage& image) {
  const auto [first, last] = callbacks_.equal_range(&image);
  for (auto it = first; it != last; ++it) due_.push_back(std::move(it->second));
  callbacks_.erase(first, last);
  has_due_.store(true, std::memory_order_release);
}

void VisionCache::run_callbacks() {
  if (!has_due_.load(std::memory_order_acquire)) return;
  std::vector<std::function<void()>> due;
  {
    const std::lock_guard lock(mutex_);
    due.swap(due_);
    has_due_.store(false, std::memory_order_release);
  }
  for (const auto& callback : due) callback();
}

void VisionCache::raise(CachedImage& image, Priority priority) {
  if (priority < image.priority()) image.priority_.store(priority, std::memory_order_relaxed);
}

void VisionCache::record_span(CachedImage& image, int64_t begin_ns, int64_t end_ns) const {
  const std::lock_guard lock(image.spans_mutex_);
  if (image.spans_.size() >= kMaxSpans) {
    image.spans_.back().end_ns = end_ns;
  } else {
    image.spans_.push_back({Span::kVision, begin_ns, end_ns});
  }
}

bool VisionCache::acquire(CachedImage& image, int64_t step) {
  if (!image.encoded()) return false;
  if (image.first_row_ < 0) {
    const int32_t row = allocate_rows(image.num_tokens_);
    if (row < 0) return false;
    CHECK(image.host_ != nullptr);
    runner_.write_images(row, image.num_tokens_, image.host_);
    image.first_row_ = row;
  }
  step_ = step;
  image.last_step_ = step;
  return true;
}

// Makes room by spilling what was read longest ago and by no step in flight.
int32_t VisionCache::allocate_rows(int32_t count) {
  while (true) {
    if (const int32_t row = ranges_.allocate(count); row >= 0) return row;
    ImagePtr oldest;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [key, image] : images_) {
        if (image->first_row_ < 0 || !image->encoded() || image->last_step_ > released_step_) continue;
        if (oldest == nullptr || image->last_step_ < oldest->last_step_) oldest = image;
      }
    }
    if (oldest == nullptr) return -1;
    spill(oldest);
  }
}

// Copies in memory of their own go when nobody holds the picture any more.
void VisionCache::spill(const ImagePtr& image) {
  if (image->host_ == nullptr && keep_on_host(image)) {
    runner_.read_images(image->first_row_, image->num_tokens_, image->host_);
  }
  ranges_.release(image->first_row_, image->num_tokens_);
  image->first_row_ = -1;
  const std::lock_guard lock(mutex_);
  std::erase_if(images_, [&](const auto& entry) {
    const ImagePtr& other = entry.second;
    if (other->own_ == nullptr || other.use_count() > (other == image ? 2 : 1)) return false;
    drop_host_copy(*other);
    return other->first_row_ < 0;
  });
}

// Finds memory for a copy. False: there is none, and nobody holds the picture, which is forgotten.
bool VisionCache::keep_on_host(const ImagePtr& image) {
  const std::lock_guard lock(mutex_);
  int32_t row = -1;
  while ((row = host_ranges_.allocate(image->num_tokens_)) < 0) {
    CachedImage* oldest = oldest_on_host();
    if (oldest == nullptr) break;
    drop_host_copy(*oldest);
    if (oldest->first_row_ < 0) images_.erase(oldest->key_);
  }
  if (row >= 0) {
    image->host_ = options_.host_memory.data() + static_cast<size_t>(row) * row_bytes_;
  } else if (image.use_count() > 2) {  // more than the map's and our caller's
    image->own_ = std::make_unique_for_overwrite<std::byte[]>(bytes_of(*image));
    image->host_ = image->own_.get();
  } else {
    images_.erase(image->key_);
    return false;
  }
  host_bytes_ += static_cast<int64_t>(bytes_of(*image));
  return true;
}

// With the lock held: whose part of the cache's host memory is given up first. Copies of rows that are on the device,
// then pictures that nobody holds; or null.
CachedImage* VisionCache::oldest_on_host() {
  CachedImage* oldest = nullptr;
  for (const auto& [key, image] : images_) {
    if (image->host_ == nullptr || image->own_ != nullptr) continue;
    const bool on_device = image->first_row_ >= 0;
    if (!on_device && image.use_count() > 1) continue;
    const auto order = [](const CachedImage& i) { return std::pair(i.first_row_ < 0, i.last_step_); };
    if (oldest == nullptr || order(*image) < order(*oldest)) oldest = image.get();
  }
  return oldest;
}

// With the lock held.
void VisionCache::drop_host_copy(CachedImage& image) {
  if (image.own_ == nullptr) {
    const auto offset = static_cast<size_t>(image.host_ - options_.host_memory.data());
    host_ranges_.release(static_cast<int32_t>(offset / row_bytes_), image.num_tokens_);
  }
  image.own_.reset();
  image.host_ = nullptr;
  host_bytes_ -= static_cast<int64_t>(bytes_of(image));
}

}  // namespace glimpse
