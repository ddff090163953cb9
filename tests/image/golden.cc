#include "tests/image/golden.h"

#include <cstdio>

#include "base/check.h"
#include "base/mmap.h"

namespace glimpse {

namespace {

std::string read_golden(const std::string& name) {
  auto text = read_file(std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/image/" + name, size_t{4} << 20);
  CHECK(text.has_value(), name);
  return *std::move(text);
}

}  // namespace

uint64_t splitmix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

Golden::Golden()
    : encoded_(read_golden("pictures.bin")),
      pixels_(read_golden("pixels.bin")),
      resizes_(read_golden("resizes.bin")),
      patches_(read_golden("patches.bin")) {
  manifest_ = parse_json(read_golden("manifest.json"))->as_object();
  for (const json::value& item : manifest_.at("pictures").as_array()) {
    const json::object& entry = item.as_object();
    GoldenPicture picture;
    picture.name = std::string(entry.at("name").as_string());
    picture.height = static_cast<int>(number(entry.at("height")));
    picture.width = static_cast<int>(number(entry.at("width")));
    picture.encoded =
        std::as_bytes(bytes_of(encoded_))
            .subspan(static_cast<size_t>(number(entry.at("offset"))), static_cast<size_t>(number(entry.at("bytes"))));
    picture.pixels = bytes_of(pixels_).subspan(static_cast<size_t>(number(entry.at("pixels"))),
                                               static_cast<size_t>(picture.height * picture.width * 3));
    pictures_.push_back(std::move(picture));
  }
}

const Golden& Golden::get() {
  static const Golden golden;
  return golden;
}

const GoldenPicture& Golden::picture(std::string_view name) const {
  for (const GoldenPicture& picture : pictures_) {
    if (picture.name == name) return picture;
  }
  CHECK(false, name);
}

RgbImage source_image(uint64_t seed, int height, int width) {
  RgbImage image;
  CHECK(image.reset(width, height).has_value());
  uint64_t i = seed << 40;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c, ++i) {
        const auto noise = static_cast<uint8_t>(splitmix(i) >> 56);
        const int block = ((x / 5 + y / 3) & 1) * 255;
        image.row(y)[3 * x + c] = seed % 2 == 0 ? noise : static_cast<uint8_t>(block ^ (noise & 7));
      }
    }
  }
  return image;
}

std::string position_hash(std::span<const uint8_t> data) {
  uint64_t total = 0;
  for (size_t i = 0; i < data.size(); ++i) total += splitmix(data[i] + (uint64_t{i} << 8));
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(total));
  return text;
}

}  // namespace glimpse
