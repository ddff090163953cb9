// The image path step by step on a 1920x1080 photograph-like picture, one thread unless the name says otherwise.
//
//   build/release/bench/image/image_bench                              all steps
//   GLIMPSE_BENCH_DIR=/tmp/x build/release/bench/image/image_bench     also writes photo.jpg and photo.png there, for
//   python bench/image/pil_baseline.py /tmp/x                          PIL, torchvision and transformers on the same

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "bench/image/photo.h"
#include "image/preprocess.h"

namespace glimpse {
namespace {

struct Pictures {
  RgbImage pixels;
  std::vector<std::byte> jpeg;
  std::vector<std::byte> png;
};

const Pictures& pictures() {
  static const Pictures made = [] {
    Pictures p;
    p.pixels = make_photo(1080, 1920);
    p.jpeg = encode_jpeg(p.pixels);
    RgbImage decoded;  // the PNG holds what the JPEG shows
    CHECK(decode(p.jpeg, ImageOptions{}, decoded).has_value());
    p.png = encode_png(decoded);
    return p;
  }();
  return made;
}

void write_file(const std::string& path, const std::vector<std::byte>& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  CHECK(file != nullptr, path);
  CHECK(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  std::fclose(file);
}

ImageOptions mini_options() {
  ImageOptions options;
  options.min_pixels = 25088;
  options.max_pixels = 250880;
  return options;
}

void bench_decode(benchmark::State& state, const std::vector<std::byte>& encoded) {
  RgbImage out;
  DecodeScratch scratch;
  for (auto _ : state) CHECK(decode(encoded, ImageOptions{}, scratch, out).has_value());
  state.counters["bytes"] = static_cast<double>(encoded.size());
}

void bench_resize(benchmark::State& state, int width, int height, Resampler resampler, ResizeIsa isa) {
  const RgbImage& in = pictures().pixels;
  ResizeScratch scratch;
  RgbImage out;
  for (auto _ : state) CHECK(resize(in, width, height, resampler, scratch, out, {}, isa).has_value());
}

void bench_patchify(benchmark::State& state, int width, int height, PatchFormat format) {
  ImageOptions options;
  ResizeScratch scratch;
  RgbImage image;
  CHECK(resize(pictures().pixels, width, height, Resampler::kTorchvision, scratch, image).has_value());
  std::vector<std::byte> out(patch_grid(height, width, options, format).size_bytes);
  for (auto _ : state) patchify(image, options, format, out);
}

void bench_whole(benchmark::State& state, const std::vector<std::byte>& encoded, const ImageOptions& options) {
  const PatchFormat format{PatchDtype::kBfloat16, PatchFrames::kOneFrame};
  ImageScratch scratch;
  double decode_ms = 0;
  double rest_ms = 0;
  for (auto _ : state) {
    const auto result = preprocess(encoded, options, format, scratch);
    CHECK(result.has_value());
    decode_ms += static_cast<double>(result->decode_ns) * 1e-6;
    rest_ms += static_cast<double>(result->resize_ns + result->patchify_ns) * 1e-6;
  }
  state.counters["decode_ms"] = benchmark::Counter(decode_ms, benchmark::Counter::kAvgIterations);
  state.counters["rest_ms"] = benchmark::Counter(rest_ms, benchmark::Counter::kAvgIterations);
}

template <typename Body>
void add(const std::string& name, Body body) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(body))->Unit(benchmark::kMillisecond)->UseRealTime();
}

std::string size_name(int width, int height) {
  return std::to_string(width) + "x" + std::to_string(height);
}

void register_all() {
  add("decode/jpeg", [](auto& state) { bench_decode(state, pictures().jpeg); });
  add("decode/png", [](auto& state) { bench_decode(state, pictures().png); });
  // The sizes of the table in docs/images.md.
  for (const auto& [width, height] : {std::pair{1932, 1092},
                                      {1904, 1064},
                                      {1344, 756},
                                      {1120, 1120},
                                      {1120, 616},
                                      {1008, 560},
                                      {672, 364},
                                      {336, 336},
                                      {448, 252}}) {
    add("resize/torchvision/" + size_name(width, height), [width, height](auto& state) {
      bench_resize(state, width, height, Resampler::kTorchvision, best_resize_isa());
    });
    add("resize/pillow/" + size_name(width, height),
        [width, height](auto& state) { bench_resize(state, width, height, Resampler::kPillow, best_resize_isa()); });
  }
  for (const ResizeIsa isa : {ResizeIsa::kScalar, ResizeIsa::kAvx2, ResizeIsa::kAvx512}) {
    if (!is_available(isa)) continue;
    add("resize/" + std::string(resize_isa_name(isa)) + "/448x252",
        [isa](auto& state) { bench_resize(state, 448, 252, Resampler::kTorchvision, isa); });
  }
  for (const auto& [width, height] : {std::pair{448, 252}, {1120, 1120}, {1932, 1092}}) {
    add("patchify/fp32/" + size_name(width, height),
        [width, height](auto& state) { bench_patchify(state, width, height, PatchFormat{}); });
    add("patchify/bf16-one-frame/" + size_name(width, height), [width, height](auto& state) {
      bench_patchify(state, width, height, {PatchDtype::kBfloat16, PatchFrames::kOneFrame});
    });
  }
  add("whole/jpeg/mini", [](auto& state) { bench_whole(state, pictures().jpeg, mini_options()); });
  add("whole/png/mini", [](auto& state) { bench_whole(state, pictures().png, mini_options()); });
  add("whole/jpeg/9b", [](auto& state) { bench_whole(state, pictures().jpeg, ImageOptions{}); });
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (const char* dir = std::getenv("GLIMPSE_BENCH_DIR"); dir != nullptr) {
    glimpse::write_file(std::string(dir) + "/photo.jpg", glimpse::pictures().jpeg);
    glimpse::write_file(std::string(dir) + "/photo.png", glimpse::pictures().png);
  }
  glimpse::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
