#include "image/preprocess.h"

#include <chrono>
#include <new>
#include <string>
#include <utility>

namespace glimpse {

namespace {

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Result<ImageSize> target_size(const ImageHeader& header, const ImageOptions& options) {
  if (options.do_resize) return smart_resize(header.height, header.width, options);
  if (header.height % options.factor() != 0 || header.width % options.factor() != 0) {
    return Error{ErrorCode::kInvalidData,
                 "the picture is " + std::to_string(header.width) + "x" + std::to_string(header.height) +
                     ", do_resize is off, and a side is not a " + "multiple of " + std::to_string(options.factor())};
  }
  return ImageSize{header.height, header.width};
}

}  // namespace

// The steps, with access to the scratch's buffers.
struct ImagePipeline {
  static Status ensure_values(ImageScratch& scratch, size_t bytes) {
    if (bytes <= scratch.values_bytes_) return {};
    scratch.values_.reset();
    scratch.values_bytes_ = 0;
    scratch.values_.reset(new (std::nothrow) std::byte[bytes]);
    if (scratch.values_ == nullptr) {
      return Error{ErrorCode::kResource, "no memory for " + std::to_string(bytes) + " bytes of patches"};
    }
    scratch.values_bytes_ = bytes;
    return {};
  }

  static Result<std::span<std::byte>> target(size_t bytes, std::span<std::byte> destination, ImageScratch& scratch) {
    if (destination.empty()) {
      RETURN_IF_ERROR(ensure_values(scratch, bytes));
      return std::span(scratch.values_.get(), bytes);
    }
    if (destination.size() < bytes) {
      return Error{ErrorCode::kInvalidArgument, "the picture's patches take " + std::to_string(bytes) +
                                                    " bytes; the destination has " +
                                                    std::to_string(destination.size())};
    }
    return destination.first(bytes);
  }

  static Status make_resized(const ImagePlan& plan, const ImageOptions& options, ImageScratch& scratch,
                             const ParallelFor& parallel) {
    if (plan.resized == ImageSize{scratch.decoded_.height(), scratch.decoded_.width()}) {
      scratch.resized_ = &scratch.decoded_;
      return {};
    }
    scratch.resized_ = &scratch.resize_target_;
    return resize(scratch.decoded_, plan.resized.width, plan.resized.height, options.resampler, scratch.resize_,
                  scratch.resize_target_, parallel);
  }

  static Result<PreprocessedImage> run(std::span<const std::byte> encoded, const ImageOptions& options,
                                       PatchFormat format, ImageScratch& scratch, std::span<std::byte> destination,
                                       const ParallelFor& parallel) {
    PreprocessedImage result;
    const int64_t start = now_ns();
    ASSIGN_OR_RETURN(result.plan, plan_image(encoded, options, format));
    ASSIGN_OR_RETURN(const std::span<std::byte> values, target(result.plan.grid.size_bytes, destination, scratch));
    RETURN_IF_ERROR(decode(encoded, result.plan.header, options, scratch.decode_, scratch.decoded_));
    const int64_t decoded = now_ns();
    RETURN_IF_ERROR(make_resized(result.plan, options, scratch, parallel));
    const int64_t resized = now_ns();
    patchify(scratch.resized(), options, format, values, parallel);
    const int64_t done = now_ns();
    result.pixel_values = values;
    result.decode_ns = decoded - start;
    result.resize_ns = resized - decoded;
    result.patchify_ns = done - resized;
    return result;
  }
};

Result<ImagePlan> plan_image(std::span<const std::byte> encoded, const ImageOptions& options, PatchFormat format) {
  ImagePlan plan;
  ASSIGN_OR_RETURN(plan.header, read_header(encoded));
  RETURN_IF_ERROR(check_bounds(plan.header, encoded.size(), options));
  ASSIGN_OR_RETURN(plan.resized, target_size(plan.header, options));
  plan.grid = patch_grid(plan.resized.height, plan.resized.width, options, format);
  return plan;
}

Result<PreprocessedImage> preprocess(std::span<const std::byte> encoded, const ImageOptions& options,
                                     PatchFormat format, ImageScratch& scratch, std::span<std::byte> destination,
                                     const ParallelFor& parallel) {
  return ImagePipeline::run(encoded, options, format, scratch, destination, parallel);
}

}  // namespace glimpse
