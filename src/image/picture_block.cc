#include "image/picture_block.h"

#include <chrono>
#include <cstring>

#include "base/check.h"

namespace glimpse {

namespace {

constexpr size_t kAlignment = 64;

size_t aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// Reserves the axis's tables at `end`.
ResampleTables lay_out(const ResampleAxis& axis, int in, int out, size_t& end) {
  ResampleTables tables{.in = in, .out = out};
  if (!tables.resamples()) return tables;
  const auto place = [&](size_t words) {
    const size_t at = end;
    end = aligned(end + words * sizeof(int32_t));
    return at;
  };
  const auto outputs = static_cast<size_t>(out);
  tables.shift = axis.shift;
  tables.taps = axis.max_taps;
  tables.first = place(outputs);
  tables.count = place(outputs);
  tables.weights = place(outputs * static_cast<size_t>(axis.max_taps));
  return tables;
}

void write_tables(const ResampleAxis& axis, const ResampleTables& tables, std::byte* block) {
  if (!tables.resamples()) return;
  CHECK(axis.in == tables.in && axis.out == tables.out, axis.in, axis.out);
  std::memcpy(block + tables.first, axis.first.data(), axis.first.size() * sizeof(int32_t));
  std::memcpy(block + tables.count, axis.count.data(), axis.count.size() * sizeof(int32_t));
  auto* weights = reinterpret_cast<int32_t*>(block + tables.weights);
  for (int o = 0; o < axis.out; ++o) {
    for (int j = 0; j < axis.max_taps; ++j) *weights++ = axis.weight(o, j);
  }
}

}  // namespace

PictureBlock plan_block(const ImagePlan& plan, const ImageOptions& options, ImageScratch& scratch) {
  const ImageSize from{plan.header.height, plan.header.width};
  const ImageSize to = plan.resized;
  ResizeScratch& resize = scratch.resize_;
  if (from.width != to.width) prepare_axis(from.width, to.width, options.resampler, resize.horizontal);
  if (from.height != to.height) prepare_axis(from.height, to.height, options.resampler, resize.vertical);
  PictureBlock block{.down_first = goes_down_first(from, to, options.resampler),
                     .patch_size = options.patch_size,
                     .merge_size = options.merge_size};
  const size_t pixels = static_cast<size_t>(from.width) * static_cast<size_t>(from.height) * 3;
  block.bytes = aligned(pixels + RgbImage::kTailBytes);
  block.across = lay_out(resize.horizontal, from.width, to.width, block.bytes);
  block.down = lay_out(resize.vertical, from.height, to.height, block.bytes);
  block.values = block.bytes;
  block.bytes = aligned(block.bytes + sizeof(decltype(normalisation_table(options))));
  return block;
}

Result<int64_t> fill_block(std::span<const std::byte> encoded, const ImagePlan& plan, const PictureBlock& block,
                           const ImageOptions& options, ImageScratch& scratch, std::span<std::byte> destination) {
  using Clock = std::chrono::steady_clock;
  CHECK(destination.size() == block.bytes, destination.size(), block.bytes);
  CHECK(reinterpret_cast<uintptr_t>(destination.data()) % kAlignment == 0);
  const auto start = Clock::now();
  auto* pixels = reinterpret_cast<uint8_t*>(destination.data());
  RgbImage picture(
      {pixels, static_cast<size_t>(block.across.in) * static_cast<size_t>(block.down.in) * 3 + RgbImage::kTailBytes});
  RETURN_IF_ERROR(decode(encoded, plan.header, options, scratch.decode_, picture));
  CHECK(picture.data() == pixels, picture.width(), picture.height());
  const auto decoded = std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
  write_tables(scratch.resize_.horizontal, block.across, destination.data());
  write_tables(scratch.resize_.vertical, block.down, destination.data());
  const auto values = normalisation_table(options);
  std::memcpy(destination.data() + block.values, values.data(), sizeof values);
  return decoded;
}

}  // namespace glimpse
