#pragma once

// The goldens of python/reference/make_image_goldens.py, and the sources both sides make from a seed.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "image/rgb_image.h"

namespace glimpse {

// A stored picture file and the pixels that PIL reads from it, [height, width, 3].
struct GoldenPicture {
  std::string name;
  int height = 0;
  int width = 0;
  std::span<const std::byte> encoded;
  std::span<const uint8_t> pixels;
};

class Golden {
 public:
  // Reads tests/golden/image once; aborts the program when it is not there.
  static const Golden& get();

  const json::object& manifest() const { return manifest_; }
  const std::vector<GoldenPicture>& pictures() const { return pictures_; }
  const GoldenPicture& picture(std::string_view name) const;
  std::span<const uint8_t> resizes() const { return bytes_of(resizes_); }
  std::span<const uint8_t> patches() const { return bytes_of(patches_); }

 private:
  Golden();
  static std::span<const uint8_t> bytes_of(const std::string& text) {
    return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
  }

  json::object manifest_;
  std::string encoded_;
  std::string pixels_;
  std::string resizes_;
  std::string patches_;
  std::vector<GoldenPicture> pictures_;
};

// make_image_goldens.py, source_bytes and position_hash.
RgbImage source_image(uint64_t seed, int height, int width);
std::string position_hash(std::span<const uint8_t> data);

uint64_t splitmix(uint64_t x);

inline int64_t number(const json::value& value) {
  return value.to_number<int64_t>();
}

}  // namespace glimpse
