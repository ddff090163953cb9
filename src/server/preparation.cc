#include "server/preparation.h"

#include <fmt/format.h>

namespace glimpse {

namespace {

constexpr size_t kMaxWaiting = 512;  // pictures given and not done
constexpr size_t kMaxIdlePixelBytes = size_t{256} << 20;

std::span<const std::byte> bytes_of(const Picture& picture) {
  return std::as_bytes(std::span(picture.bytes));
}

PatchFormat format_for(DType dtype) {
  return {.dtype = dtype == DType::kF32 ? PatchDtype::kFloat32 : PatchDtype::kBfloat16,
          .frames = PatchFrames::kOneFrame};
}

GridThw grid_of(const ImagePlan& plan) {
  return {static_cast<int32_t>(plan.grid.grid_thw[0]), static_cast<int32_t>(plan.grid.grid_thw[1]),
          static_cast<int32_t>(plan.grid.grid_thw[2])};
}

ApiError picture_error(const Error& error, std::string_view param) {
  if (error.code == ErrorCode::kResource || error.code == ErrorCode::kOverloaded) return to_api_error(error, param);
  return invalid_image(param, error.message);
}

bool is_set(const CancelFlag& flag) {
  return flag != nullptr && flag->load(std::memory_order_relaxed);
}

}  // namespace

Preparation::Preparation(const ModelSource& source, Engine& engine, const Clock& clock, int threads)
    : source_(source),
      engine_(engine),
      clock_(clock),
      buffers_(std::make_shared<PixelBuffers>(kMaxIdlePixelBytes)),
      pool_(threads) {
  const ImageOptions& o = source.image;
  options_text_ = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", source.label, source.cache_key, o.min_pixels,
                              o.max_pixels, o.patch_size, o.merge_size, o.temporal_patch_size, o.do_resize,
                              o.do_rescale, o.do_normalize, static_cast<int>(o.resampler));
}

ImageOptions Preparation::options_for(ImageDetail detail) const {
  ImageOptions options = source_.image;
  // The checkpoint counts a still's frames, the API its pixels.
  const int64_t frames = options.temporal_patch_size;
  options.max_pixels = max_picture_pixels(detail, options.max_pixels / frames) * frames;
  options.max_pixels = std::max(options.max_pixels, options.min_pixels);
  return options;
}

ImageKey Preparation::key(const Sha256Digest& sha256, ImageDetail detail) const {
  Sha256 hash;
  hash.update({reinterpret_cast<const char*>(sha256.data()), sha256.size()});
  hash.update(options_text_);
  hash.update(detail == ImageDetail::kLow ? "|low" : "|high");
  return {hash.finish()};
}

ApiResult<PictureSize> Preparation::inspect(const Picture& picture, std::string_view param) const {
  const ImageOptions options = options_for(ImageDetail::kAuto);
  const auto plan = plan_image(bytes_of(picture), options, {});
  if (!plan) return picture_error(plan.error(), param);
  return PictureSize{plan->header.width, plan->header.height, plan->grid.num_tokens(options)};
}

Task<ApiResult<PreparedPicture>> Preparation::prepare(Order order) {
  const int64_t given_ns = clock_.now_ns();
  const ImageKey image_key = key(order.picture->sha256, order.detail);
  PreparedPicture prepared;
  prepared.image = engine_.find_image(image_key);
  if (prepared.image) {
    ++counters_.hits;
    prepared.cache_hit = true;
    co_return prepared;
  }
  if (const auto found = in_flight_.find(image_key); found != in_flight_.end()) {
    const std::shared_ptr<InFlight> flight = found->second;
    ++flight->interested;
    while (!flight->result) {
      error_code ignored;
      co_await flight->done.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    --flight->interested;
    co_return *flight->result;
  }
  if (pool_.waiting() >= kMaxWaiting) {
    co_return overloaded("too many pictures are waiting to be decoded", 1);
  }
  const auto executor = co_await asio::this_coro::executor;
  const auto flight = std::make_shared<InFlight>(executor);
  in_flight_.emplace(image_key, flight);
  auto worked = co_await pool_.run([&] { return work(order, image_key, given_ns, *flight); });
  flight->result.emplace(std::move(worked));
  flight->done.cancel();
  in_flight_.erase(image_key);
  ++(*flight->result ? counters_.prepared : counters_.failed);
  co_return *flight->result;
}

ApiResult<PreparedPicture> Preparation::work(const Order& order, const ImageKey& key, int64_t given_ns,
                                             const InFlight& flight) {
  if (is_set(order.cancelled) && flight.interested == 1) return invalid_image(order.param, "the client has gone");
  const int64_t begin_ns = clock_.now_ns();
  auto dtype = engine_.prepare_vision();
  if (!dtype) return to_api_error(dtype.error(), order.param);
  const ImageOptions options = options_for(order.detail);
  const PatchFormat format = format_for(*dtype);
  const auto plan = plan_image(bytes_of(*order.picture), options, format);
  if (!plan) return picture_error(plan.error(), order.param);
  const auto pixels = buffers_->take(plan->grid.size_bytes);
  if (pixels == nullptr) return unavailable("no memory for the picture", 5);
  auto scratch = take_scratch();
  const auto processed =
      preprocess(bytes_of(*order.picture), options, format, *scratch, {pixels.get(), plan->grid.size_bytes});
  {
    const std::lock_guard lock(scratch_mutex_);
    scratches_.push_back(std::move(scratch));
  }
  if (!processed) return picture_error(processed.error(), order.param);
  PreparedPicture prepared;
  prepared.width = plan->header.width;
  prepared.height = plan->header.height;
  const int64_t done_ns = clock_.now_ns();
  const int64_t decoded_ns = done_ns - processed->resize_ns - processed->patchify_ns;
  prepared.spans = {{Span::kQueue, given_ns, begin_ns},
                    {Span::kDecodeImage, begin_ns, decoded_ns},
                    {Span::kPreprocess, decoded_ns, done_ns}};
  auto image =
      engine_.add_image(key, grid_of(*plan), {pixels, plan->grid.size_bytes}, order.priority, order.on_encoded);
  if (!image) return to_api_error(image.error(), order.param);
  prepared.image = std::move(*image);
  return prepared;
}

std::unique_ptr<ImageScratch> Preparation::take_scratch() {
  const std::lock_guard lock(scratch_mutex_);
  if (scratches_.empty()) return std::make_unique<ImageScratch>();
  auto scratch = std::move(scratches_.back());
  scratches_.pop_back();
  return scratch;
}

}  // namespace glimpse
