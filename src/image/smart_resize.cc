#include "image/smart_resize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/check.h"

namespace glimpse {

namespace {

// Python's round(a / b) * b. nearbyint in the default rounding mode is half to even, too.
int64_t round_to_multiple(int64_t value, int64_t factor) {
  return static_cast<int64_t>(std::nearbyint(static_cast<double>(value) / static_cast<double>(factor))) * factor;
}

}  // namespace

Result<ImageSize> smart_resize(int height, int width, const ImageOptions& options) {
  CHECK(height > 0 && width > 0, height, width);
  const int64_t factor = options.factor();
  const int64_t frames = options.temporal_patch_size;
  const auto f = static_cast<double>(factor);
  int64_t h = height;
  int64_t w = width;
  if (h < factor || w < factor) {
    const double scale = std::max(f / static_cast<double>(h), f / static_cast<double>(w));
    h = static_cast<int64_t>(static_cast<double>(h) * scale);
    w = static_cast<int64_t>(static_cast<double>(w) * scale);
  }
  if (static_cast<double>(std::max(h, w)) / static_cast<double>(std::min(h, w)) > 200.0) {
    return Error{ErrorCode::kInvalidData, "the picture is " + std::to_string(width) + "x" + std::to_string(height) +
                                              ": one side is more than 200 times the other"};
  }
  int64_t out_h = round_to_multiple(h, factor);
  int64_t out_w = round_to_multiple(w, factor);
  const auto pixels = static_cast<double>(frames * h * w);
  if (frames * out_h * out_w > options.max_pixels) {
    const double beta = std::sqrt(pixels / static_cast<double>(options.max_pixels));
    const auto shrink = [&](int64_t side) {
      return std::max(factor, static_cast<int64_t>(std::floor(static_cast<double>(side) / beta / f)) * factor);
    };
    out_h = shrink(h);
    out_w = shrink(w);
  } else if (frames * out_h * out_w < options.min_pixels) {
    const double beta = std::sqrt(static_cast<double>(options.min_pixels) / pixels);
    const auto grow = [&](int64_t side) {
      return static_cast<int64_t>(std::ceil(static_cast<double>(side) * beta / f)) * factor;
    };
    out_h = grow(h);
    out_w = grow(w);
  }
  constexpr int64_t kMaxSide = std::numeric_limits<int>::max() / 4;
  if (out_h > kMaxSide || out_w > kMaxSide) {
    return Error{ErrorCode::kTooLarge, "the picture of " + std::to_string(width) + "x" + std::to_string(height) +
                                           " would become " + std::to_string(out_w) + "x" + std::to_string(out_h)};
  }
  return ImageSize{static_cast<int>(out_h), static_cast<int>(out_w)};
}

}  // namespace glimpse
