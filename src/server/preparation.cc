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
      buffers_(std::make_shared<PixelBuffers>([&engine](size_t bytes) { return engine.allocate_pixels(bytes); },
                                              kMaxIdlePixelBytes)),
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
  PixelValues pixels;
  int64_t decode_ns = 0;
  const int64_t prepare_ns = clock_.now_ns();
  {
    const Scratch scratch(*this);
    auto decoded = engine_.cuts_pictures() && fits_block(*plan)
                       ? make_block(*order.picture, *plan, options, scratch.get(), pixels)
                       : make_patches(*order.picture, *plan, options, format, scratch.get(), pixels);
    if (!decoded) return picture_error(decoded.error(), order.param);
    decode_ns = *decoded;
  }
  PreparedPicture prepared;
  prepared.width = plan->header.width;
  prepared.height = plan->header.height;
  const int64_t done_ns = clock_.now_ns();
  const int64_t decoded_ns = std::min(prepare_ns + decode_ns, done_ns);
  prepared.spans = {{Span::kQueue, given_ns, begin_ns},
                    {Span::kDecodeImage, begin_ns, decoded_ns},
                    {Span::kPreprocess, decoded_ns, done_ns}};
  auto image = engine_.add_image(key, grid_of(*plan), std::move(pixels), order.priority, order.on_encoded);
  if (!image) return to_api_error(image.error(), order.param);
  prepared.image = std::move(*image);
  return prepared;
}

// Both return how long decoding took.
Result<int64_t> Preparation::make_patches(const Picture& picture, const ImagePlan& plan, const ImageOptions& options,
                                          PatchFormat format, ImageScratch& scratch, PixelValues& out) {
  const auto memory = buffers_->take(plan.grid.size_bytes);
  if (memory == nullptr) return Error{ErrorCode::kResource, "no memory for the picture"};
  out = {.data = memory, .bytes = plan.grid.size_bytes};
  ASSIGN_OR_RETURN(const auto processed,
                   preprocess(bytes_of(picture), options, format, scratch, {memory.get(), out.bytes}));
  return processed.decode_ns;
}

// The rest is done by the device, as a part of the tower's work.
Result<int64_t> Preparation::make_block(const Picture& picture, const ImagePlan& plan, const ImageOptions& options,
                                        ImageScratch& scratch, PixelValues& out) {
  const PictureBlock block = plan_block(plan, options, scratch);
  const auto memory = buffers_->take(block.bytes);
  if (memory == nullptr) return Error{ErrorCode::kResource, "no memory for the picture"};
  out = {.data = memory, .bytes = block.bytes, .block = block};
  return fill_block(bytes_of(picture), plan, block, options, scratch, {memory.get(), block.bytes});
}

Preparation::Scratch::Scratch(Preparation& owner) : owner_(owner) {
  const std::lock_guard lock(owner.scratch_mutex_);
  if (owner.scratches_.empty()) {
    scratch_ = std::make_unique<ImageScratch>();
  } else {
    scratch_ = std::move(owner.scratches_.back());
    owner.scratches_.pop_back();
  }
}

Preparation::Scratch::~Scratch() {
  const std::lock_guard lock(owner_.scratch_mutex_);
  owner_.scratches_.push_back(std::move(scratch_));
}

}  // namespace glimpse
