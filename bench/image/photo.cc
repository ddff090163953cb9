#include "bench/image/photo.h"

#include <spng.h>
#include <turbojpeg.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "base/check.h"

namespace glimpse {

namespace {

uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

float lattice(int64_t x, int64_t y, int64_t salt) {
  return static_cast<float>(mix(static_cast<uint64_t>(x * 73856093 + y * 19349663 + salt * 83492791)) >> 40) * 0x1p-24F;
}

// Bilinear noise on a grid of `cell` pixels, 0..1.
float clouds(int x, int y, int cell, int salt) {
  const int gx = x / cell;
  const int gy = y / cell;
  const float fx = static_cast<float>(x % cell) / static_cast<float>(cell);
  const float fy = static_cast<float>(y % cell) / static_cast<float>(cell);
  const float top = lattice(gx, gy, salt) * (1 - fx) + lattice(gx + 1, gy, salt) * fx;
  const float bottom = lattice(gx, gy + 1, salt) * (1 - fx) + lattice(gx + 1, gy + 1, salt) * fx;
  return top * (1 - fy) + bottom * fy;
}

constexpr float kNoise = 10.5F;  // standard deviation in grey levels; chosen for the file sizes in photo.h

float gauss(uint64_t seed) {
  float sum = 0;
  for (uint64_t i = 0; i < 4; ++i) sum += static_cast<float>((mix(seed) >> (16 * i)) & 0xffff) * 0x1p-16F - 0.5F;
  return sum * 1.732F;
}

}  // namespace

RgbImage make_photo(int height, int width) {
  RgbImage image;
  CHECK(image.reset(width, height).has_value());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const uint64_t pixel = static_cast<uint64_t>(y) * static_cast<uint64_t>(width) + static_cast<uint64_t>(x);
      for (int c = 0; c < 3; ++c) {
        float value = 0;
        float weight = 110;
        for (int cell = 512; cell >= 8; cell /= 2, weight *= 0.5F) value += weight * clouds(x, y, cell, c * 100 + cell);
        // Most of a sensor's noise is common to the three channels after demosaicing.
        value += kNoise * (0.85F * gauss(pixel * 4) + 0.5F * gauss(pixel * 4 + 1 + static_cast<uint64_t>(c)));
        image.row(y)[3 * x + c] = static_cast<uint8_t>(std::clamp(value + 20.0F, 0.0F, 255.0F));
      }
    }
  }
  return image;
}

std::vector<std::byte> encode_jpeg(const RgbImage& image) {
  tjhandle encoder = tjInitCompress();
  unsigned char* data = nullptr;
  unsigned long size = 0;
  const int code = tjCompress2(encoder, image.data(), image.width(), 0, image.height(), TJPF_RGB, &data, &size,
                               TJSAMP_420, 96, TJFLAG_ACCURATEDCT);
  CHECK(code == 0, code);
  const auto* bytes = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> out(bytes, bytes + size);
  tjFree(data);
  tjDestroy(encoder);
  return out;
}

std::vector<std::byte> encode_png(const RgbImage& image) {
  spng_ctx* encoder = spng_ctx_new(SPNG_CTX_ENCODER);
  spng_set_option(encoder, SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<uint32_t>(image.width());
  header.height = static_cast<uint32_t>(image.height());
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(encoder, &header);
  const int code = spng_encode_image(encoder, image.data(), image.size_bytes(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  CHECK(code == 0, code);
  size_t size = 0;
  int error = 0;
  void* data = spng_get_png_buffer(encoder, &size, &error);
  CHECK(data != nullptr, error);
  const auto* bytes = static_cast<const std::byte*>(data);
  std::vector<std::byte> out(bytes, bytes + size);
  std::free(data);
  spng_ctx_free(encoder);
  return out;
}

}  // namespace glimpse
