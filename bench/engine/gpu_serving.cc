#include "bench/engine/gpu_serving.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <future>
#include <thread>

#include "base/json.h"
#include "base/mmap.h"
#include "bench/image/photo.h"
#include "engine/batching_engine.h"
#include "engine/device_step_runner.h"
#include "engine/prompt.h"
#include "image/picture_block.h"

namespace glimpse {

namespace {

// Pixels of a made-up picture of that size, bf16.
Result<Buffer> make_pixels(Runner& runner, const GridThw& grid) {
  const VisionConfig& vision = runner.config().vision;
  const auto values = static_cast<size_t>(grid.num_patches() * 3 * vision.patch_size * vision.patch_size);
  ASSIGN_OR_RETURN(Buffer pixels, runner.backend().allocate(values * sizeof(bf16), MemoryKind::kPinnedHost));
  for (size_t i = 0; i < values; ++i) {
    pixels.as<bf16>()[i] = to_bf16(static_cast<float>(i * 2654435761u % 1000) / 500.0f - 1.0f);
  }
  return pixels;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Milliseconds from the block in host memory to its patches on the device.
Result<double> time_cut(Backend& backend, const PictureBlock& layout, const PatchGrid& grid, const Buffer& block) {
  const auto stream = backend.make_stream();
  ASSIGN_OR_RETURN(const Buffer device, backend.allocate(layout.bytes, MemoryKind::kDevice));
  ASSIGN_OR_RETURN(const Buffer patches, backend.allocate(grid.size_bytes, MemoryKind::kDevice));
  const CutPictureArgs args{
      .layout = layout,
      .block = device.as<std::byte>(),
      .patches = {patches.data(), DType::kBF16, grid.num_patches, grid.patch_dim, grid.patch_dim}};
  RETURN_IF_ERROR(stream->reserve_workspace(backend.ops().cut_picture_workspace(args)));
  const auto begin = backend.make_event();
  const auto end = backend.make_event();
  std::vector<double> times;
  for (int run = 0; run < 9; ++run) {
    stream->record(*begin);
    stream->copy(device.data(), block.data(), layout.bytes);
    cut_picture(args, *stream);
    stream->record(*end);
    stream->synchronize();
    times.push_back(static_cast<double>(end->ns_since(*begin)) / 1e6);
  }
  return median(times);
}

}  // namespace

// Gaps between the tokens of running answers, without and with a picture going through the tower.
Status bench_beside(Runner& runner, const std::string& size) {
  int width = 0;
  int height = 0;
  if (std::sscanf(size.c_str(), "%dx%d", &width, &height) != 2) {
    return Error{ErrorCode::kInvalidArgument, "--beside " + size + " is not WIDTHxHEIGHT"};
  }
  const auto patch = static_cast<int>(runner.config().vision.patch_size);
  const GridThw grid{1, height / patch, width / patch};
  const SteadyClock clock;
  ASSIGN_OR_RETURN(const auto steps, make_step_runner(runner, clock));
  RETURN_IF_ERROR(warm_up(*steps, true));
  ASSIGN_OR_RETURN(Buffer pixels, make_pixels(runner, grid));  // before: pinning memory stops the device
  const auto held = std::make_shared<Buffer>(std::move(pixels));
  BatchingEngine engine(*steps, clock, {.model_key = "dummy"});
  constexpr int kRequests = 8;
  std::array<std::vector<int64_t>, kRequests> times;  // written by the engine's thread, read when it has stopped
  for (int i = 0; i < kRequests; ++i) {
    std::vector<int32_t> ids;
    for (int j = 0; j < 256; ++j) ids.push_back((i * 131 + j * 7919) % 4000);
    EngineRequest request;
    request.id = std::to_string(i);
    ASSIGN_OR_RETURN(request.prompt, make_prompt(runner.config(), std::move(ids), {}));
    request.sampling.temperature = 0;
    request.sampling.seed = 1;
    request.max_tokens = 300;
    auto& to = times[static_cast<size_t>(i)];
    request.on_event = [&to, &clock](const EngineEvent& event) {
      if (!event.tokens.empty()) to.push_back(clock.now_ns());
    };
    ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t id, engine.submit(std::move(request)));
  }
  std::vector<std::pair<int64_t, int64_t>> pictures;
  for (int i = 0; i < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    ImageKey key;
    key.sha256.fill(static_cast<uint8_t>(i + 1));
    std::atomic<int64_t> end{0};
    const int64_t begin = clock.now_ns();
    ASSIGN_OR_RETURN(
        [[maybe_unused]] const ImageRef image,
        engine.add_image(
            key, grid, {.data = std::shared_ptr<const std::byte>(held, held->as<std::byte>()), .bytes = held->bytes()},
            Priority::kInteractive, [&] { end = clock.now_ns(); }));
    while (end == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    pictures.emplace_back(begin, end);
  }
  engine.stop(clock.now_ns() + 60'000'000'000);
  std::vector<double> apart, during;
  for (const auto& all : times) {
    for (size_t i = 9; i < all.size(); ++i) {
      const auto inside = [&](const auto& picture) { return all[i] > picture.first && all[i - 1] < picture.second; };
      const bool beside_one = std::any_of(pictures.begin(), pictures.end(), inside);
      (beside_one ? during : apart).push_back(static_cast<double>(all[i] - all[i - 1]) / 1e6);
    }
  }
  const auto at = [](std::vector<double>& values, double share) {
    if (values.empty()) return 0.0;
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
  };
  fmt::print(
      "\n{} answers beside pictures of {}: gap between tokens without p50 {:.2f}, p99 {:.2f} ms; with p50 {:.2f}, "
      "p99 {:.2f} ms ({} gaps); a picture took {:.0f} ms\n",
      kRequests, size, at(apart, 0.5), at(apart, 0.99), at(during, 0.5), at(during, 0.99), during.size(),
      static_cast<double>(pictures.back().second - pictures.back().first) / 1e6);
  return {};
}

Status bench_request(Runner& runner, const std::string& folder, const std::string& size, int runs) {
  int width = 0;
  int height = 0;
  if (std::sscanf(size.c_str(), "%dx%d", &width, &height) != 2) {
    return Error{ErrorCode::kInvalidArgument, "--request " + size + " is not WIDTHxHEIGHT"};
  }
  ASSIGN_OR_RETURN(const std::string text, read_file(folder + "/preprocessor_config.json", 1 << 20));
  ASSIGN_OR_RETURN(const json::value parsed, parse_json(text));
  ASSIGN_OR_RETURN(const ImageOptions image_options, parse_image_options(parsed.as_object()));
  const PatchFormat format{PatchDtype::kBfloat16, PatchFrames::kOneFrame};
  const std::vector<std::byte> jpeg = encode_jpeg(make_photo(height, width));
  ASSIGN_OR_RETURN(const ImagePlan plan, plan_image(jpeg, image_options, format));
  const auto& thw = plan.grid.grid_thw;
  const GridThw grid{1, static_cast<int32_t>(thw[1]), static_cast<int32_t>(thw[2])};
  ImageScratch scratch;
  const PictureBlock block = plan_block(plan, image_options, scratch);
  ASSIGN_OR_RETURN(Buffer made, runner.allocate_host(block.bytes));
  const auto pixels = std::make_shared<Buffer>(std::move(made));

  const SteadyClock clock;
  RETURN_IF_ERROR(fill_block(jpeg, plan, block, image_options, scratch, {pixels->as<std::byte>(), block.bytes}));
  ASSIGN_OR_RETURN(const double device_ms, time_cut(runner.backend(), block, plan.grid, *pixels));
  ASSIGN_OR_RETURN(const auto steps, make_step_runner(runner, clock));
  const int64_t warm_begin = clock.now_ns();
  RETURN_IF_ERROR(warm_up(*steps, true));
  const double warm_up_s = static_cast<double>(clock.now_ns() - warm_begin) / 1e9;
  BatchingEngine engine(*steps, clock, {.model_key = "dummy"});
  const auto num_tokens = static_cast<size_t>(grid.num_tokens(static_cast<int32_t>(image_options.merge_size)));
  std::vector<double> preprocessing, cold, warm;
  double very_first = 0;
  // Both: the whole way, then the same question again, whose picture and prompt are known. The first run warms up.
  for (int run = 0; run <= runs; ++run) {
    std::vector<int32_t> ids;
    for (int j = 0; j < 16; ++j) ids.push_back((run * 131 + j * 7919) % 4000);
    ids.insert(ids.end(), num_tokens, static_cast<int32_t>(runner.config().image_token_id));
    for (int j = 0; j < 48; ++j) ids.push_back((run * 17 + j * 7919) % 4000);
    for (const bool again : {false, true}) {
      const int64_t begin = clock.now_ns();
      ImageKey key;
      key.sha256.fill(static_cast<uint8_t>(100 + run));
      ImageRef image = engine.find_image(key);
      if (image == nullptr) {
        ASSIGN_OR_RETURN([[maybe_unused]] const int64_t decode_ns,
                         fill_block(jpeg, plan, block, image_options, scratch, {pixels->as<std::byte>(), block.bytes}));
        if (run > 0) preprocessing.push_back(static_cast<double>(clock.now_ns() - begin) / 1e6);
        ASSIGN_OR_RETURN(image,
                         engine.add_image(key, grid,
                                          {.data = std::shared_ptr<const std::byte>(pixels, pixels->as<std::byte>()),
                                           .bytes = block.bytes,
                                           .block = block},
                                          Priority::kInteractive, {}));
      }
      EngineRequest request;
      request.id = std::to_string(run);
      ASSIGN_OR_RETURN(request.prompt, make_prompt(runner.config(), ids, {grid}));
      request.images = {image};
      request.sampling.temperature = 0;
      request.sampling.seed = 1;
      request.max_tokens = 1;
      std::promise<int64_t> first;
      request.on_event = [&first, &clock](const EngineEvent& event) {
        if (event.finish) first.set_value(clock.now_ns());
      };
      ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t id, engine.submit(std::move(request)));
      const double ms = static_cast<double>(first.get_future().get() - begin) / 1e6;
      if (run > 0) (again ? warm : cold).push_back(ms);
      if (run == 0 && !again) very_first = ms;
    }
  }
  fmt::print(
      "\nJPEG {} ({} bytes, {} tokens) to the first token, in process: {:.1f} ms, of which decoding {:.1f} ms and, on "
      "the device, upload, resize and cut {:.2f} ms; the very first one {:.1f} ms; asked again: {:.1f} ms; warm-up "
      "with pictures before that {:.2f} s\n",
      size, jpeg.size(), num_tokens, median(cold), median(preprocessing), device_ms, very_first, median(warm),
      warm_up_s);
  return {};
}

}  // namespace glimpse
