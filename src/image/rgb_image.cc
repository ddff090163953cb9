#include "image/rgb_image.h"

#include <new>
#include <string>

#include "base/check.h"

namespace glimpse {

Status RgbImage::reset(int width, int height) {
  CHECK(width > 0 && height > 0, width, height);
  const size_t needed = static_cast<size_t>(width) * static_cast<size_t>(height) * 3 + kTailBytes;
  if (needed > capacity_) {
    data_.reset();
    capacity_ = 0;
    width_ = height_ = 0;
    data_ = {new (std::nothrow) uint8_t[needed], Delete(true)};
    if (data_ == nullptr) {
      return Error{ErrorCode::kResource, "no memory for a picture of " + std::to_string(width) + "x" +
                                             std::to_string(height) + " (" + std::to_string(needed) + " bytes)"};
    }
    capacity_ = needed;
  }
  width_ = width;
  height_ = height;
  return {};
}

}  // namespace glimpse
