#pragma once

// A committed tiny checkpoint behind Runner, with prompts and pictures made from seeds.

#include <gtest/gtest.h>

#include "base/mmap.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "weights/checkpoint.h"

namespace glimpse {

class TinyModel {
 public:
  explicit TinyModel(const std::string& name = "tiny_gqa2_v5")
      : folder_(std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/model/" + name) {
    const auto text = read_file(folder_ + "/checkpoint/config.json", 1 << 20);
    if (!text) ADD_FAILURE() << text.error().message;
    auto parsed = parse_model_config(*text, "config.json");
    if (!parsed) ADD_FAILURE() << parsed.error().message;
    config = *std::move(parsed);
  }

  std::unique_ptr<Runner> runner(const RunnerOptions& options, int threads = 2) const {
    auto backend = make_cpu_backend({.num_threads = threads});
    auto source = Checkpoint::open(folder_ + "/checkpoint");
    if (!backend || !source) {
      ADD_FAILURE() << "no back end or no checkpoint";
      return nullptr;
    }
    auto made = Runner::create(*std::move(backend), config, std::make_shared<Checkpoint>(*std::move(source)), options);
    if (!made) ADD_FAILURE() << made.error().message;
    return *std::move(made);
  }

  // Text, a picture of `grid`, text: the same ids whatever the picture shows.
  Prompt image_prompt() const {
    std::vector<int32_t> ids = text_prompt(37, 1).token_ids;
    ids.insert(ids.end(), static_cast<size_t>(grid.num_tokens(2)), static_cast<int32_t>(config.image_token_id));
    const std::vector<int32_t> end = text_prompt(41, 2).token_ids;
    ids.insert(ids.end(), end.begin(), end.end());
    return *make_prompt(config, ids, {grid});
  }
  // `count` ids that follow from the seed; the first `shared` are those of every other seed.
  Prompt text_prompt(int count, uint32_t seed, int shared = 0) const {
    std::vector<int32_t> ids;
    for (int i = 0; i < count; ++i) {
      const uint32_t x = (static_cast<uint32_t>(i) + (i < shared ? 0 : seed * 7919)) * 2654435761u;
      ids.push_back(static_cast<int32_t>(x >> 8) % 90);
    }
    return *make_prompt(config, ids, {});
  }
  // Pixels of a picture, made up from a seed.
  std::vector<std::byte> pixels(uint32_t seed, DType dtype) const {
    const auto patch =
        static_cast<size_t>(config.vision.in_channels * config.vision.patch_size * config.vision.patch_size);
    const size_t count = static_cast<size_t>(grid.num_patches()) * patch;
    std::vector<std::byte> bytes(count * dtype_bytes(dtype));
    for (size_t i = 0; i < count; ++i) {
      const uint32_t x = (static_cast<uint32_t>(i) + seed * 977) * 2654435761u;
      const float value = static_cast<float>(x >> 16) / 32768.0f - 1;
      if (dtype == DType::kF32) {
        reinterpret_cast<float*>(bytes.data())[i] = value;
      } else {
        reinterpret_cast<bf16*>(bytes.data())[i] = to_bf16(value);
      }
    }
    return bytes;
  }

  ModelConfig config;
  GridThw grid{1, 10, 12};  // 30 tokens

 private:
  std::string folder_;
};

}  // namespace glimpse
