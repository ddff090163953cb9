#pragma once

// A decoded picture in a buffer that is kept between pictures.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"

namespace glimpse {

// height x width x 3 bytes, rows packed (stride = 3 * width), red first. Move-only.
class RgbImage {
 public:
  // Readable bytes after the last pixel, their value unspecified: vector code may load past the end.
  static constexpr size_t kTailBytes = 64;

  RgbImage() = default;
  // In memory of somebody else, who keeps it for as long as it is used here: until more than `memory` holds is wanted.
  explicit RgbImage(std::span<uint8_t> memory) : data_(memory.data(), Delete(false)), capacity_(memory.size()) {}

  int width() const { return width_; }
  int height() const { return height_; }
  size_t stride() const { return static_cast<size_t>(width_) * 3; }
  size_t size_bytes() const { return stride() * static_cast<size_t>(height_); }
  uint8_t* row(int y) { return data_.get() + stride() * static_cast<size_t>(y); }
  const uint8_t* row(int y) const { return data_.get() + stride() * static_cast<size_t>(y); }
  uint8_t* data() { return data_.get(); }
  const uint8_t* data() const { return data_.get(); }

  // Sets the size; pixels are unspecified afterwards. Allocates only when the buffer must grow, without touching the
  // memory. Both sides must be positive (CHECK). Errors: kResource when there is no memory; the image is empty then.
  Status reset(int width, int height);

 private:
  struct Delete {
    explicit Delete(bool is_owned) : owned(is_owned) {}
    bool owned;
    void operator()(const uint8_t* data) const {
      if (owned) delete[] data;
    }
  };

  std::unique_ptr<uint8_t[], Delete> data_{nullptr, Delete(true)};
  size_t capacity_ = 0;
  int width_ = 0;
  int height_ = 0;
};

}  // namespace glimpse
