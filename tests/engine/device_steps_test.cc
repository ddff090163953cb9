// Many requests over the device: graphs or not, few or many tokens a step, alone or together, drawn on the device or by
// the host. All of it gives the ids that the plain way gives (float32, so that no tie is near). Skipped by name where
// there is no device.

#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "base/mmap.h"
#include "engine/batching_engine.h"
#include "engine/device_step_runner.h"
#include "engine/generator.h"
#include "engine/host_step_runner.h"
#include "engine/prompt.h"
#include "weights/checkpoint.h"

namespace glimpse {
namespace {

const std::string kCheckpoint = std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/model/tiny_gqa2_v5/checkpoint";

ModelConfig tiny_config() {
  const auto text = read_file(kCheckpoint + "/config.json", 1 << 20);
  return *parse_model_config(*text, "config.json");
}

std::unique_ptr<Runner> make_runner(std::unique_ptr<Backend> backend, RunnerOptions options) {
  options.dtype = DType::kF32;
  options.max_model_len = 512;
  auto runner = Runner::create(std::move(backend), tiny_config(),
                               std::make_shared<Checkpoint>(*Checkpoint::open(kCheckpoint)), options);
  EXPECT_TRUE(runner) << runner.error().message;
  return *std::move(runner);
}

struct Ask {
  std::vector<int32_t> prompt;
  SamplingParams sampling;
  int32_t max_tokens = 0;
};

std::vector<Ask> asks(const ModelConfig& config) {
  std::mt19937 random(3);
  std::vector<Ask> all;
  for (int i = 0; i < 14; ++i) {
    Ask ask;
    const auto length = std::uniform_int_distribution<int>(1, i % 5 == 0 ? 200 : 40)(random);
    for (int j = 0; j < length; ++j) {
      // Below the special ids, among which are those of pictures.
      ask.prompt.push_back(
          std::uniform_int_distribution<int32_t>(0, static_cast<int32_t>(config.text.vocab_size) / 2)(random));
    }
    ask.sampling.temperature = i % 2 == 0 ? 0.0f : 0.9f;
    if (i % 4 == 1) ask.sampling.top_p = 0.8f;
    if (i % 7 == 3) ask.sampling.frequency_penalty = 0.5f;
    if (i % 6 == 5) ask.sampling.logprobs = 2;  // the host draws
    ask.sampling.seed = 100 + static_cast<uint64_t>(i);
    ask.max_tokens = 5 + i * 3;
    all.push_back(std::move(ask));
  }
  return all;
}

std::vector<std::vector<int32_t>> answers(StepRunner& steps, const ModelConfig& config, const std::vector<Ask>& all) {
  const SteadyClock clock;
  std::vector<std::vector<int32_t>> ids(all.size());
  BatchingEngine engine(steps, clock, {.model_key = "tiny"});
  for (size_t i = 0; i < all.size(); ++i) {
    auto prompt = make_prompt(config, all[i].prompt, {});
    EXPECT_TRUE(prompt) << prompt.error().message;
    EngineRequest request;
    request.id = std::to_string(i);
    request.prompt = *std::move(prompt);
    request.sampling = all[i].sampling;
    request.max_tokens = all[i].max_tokens;
    request.on_event = [&to = ids[i]](const EngineEvent& event) {
      for (const SampledToken& token : event.tokens) to.push_back(token.id);
    };
    EXPECT_TRUE(engine.submit(std::move(request)));
  }
  engine.stop(clock.now_ns() + 60'000'000'000);
  return ids;
}

TEST(DeviceSteps, AnswerAsThePlainWayDoes) {
  if (const auto cuda = make_cuda_backend({}); !cuda) GTEST_SKIP() << cuda.error().message;
  const ModelConfig config = tiny_config();
  const std::vector<Ask> all = asks(config);
  const SteadyClock clock;
  std::vector<std::vector<int32_t>> expected;
  {
    const auto runner = make_runner(*make_cpu_backend({.num_threads = 1}), {.max_num_seqs = 1});
    HostStepRunner steps(*runner, clock);
    expected = answers(steps, config, all);
  }
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(expected[i].size(), static_cast<size_t>(all[i].max_tokens)) << i;
  for (const bool eager : {false, true}) {
    for (const int32_t batched : {24, 512}) {
      for (const int32_t seqs : {1, 3, 16}) {
        const auto runner = make_runner(
            *make_cuda_backend({}),
            {.max_num_batched_tokens = batched, .max_num_seqs = seqs, .num_kv_tokens = 4096, .enforce_eager = eager});
        EXPECT_EQ(runner->captured_sizes().empty(), eager);
        auto steps = make_step_runner(*runner, clock);
        ASSERT_TRUE(steps) << steps.error().message;
        ASSERT_EQ((*steps)->info().pipeline_depth, 1);
        const auto actual = answers(**steps, config, all);
        for (size_t i = 0; i < all.size(); ++i) {
          EXPECT_EQ(actual[i], expected[i]) << "request " << i << ", eager " << eager << ", " << batched << " tokens, "
                                            << seqs << " sequences a step";
        }
      }
    }
  }
}

// A hundred turns with a picture each: the device's memory is what it was after the first few.
TEST(DeviceSteps, PicturesLeaveNoMemoryBehind) {
  if (const auto cuda = make_cuda_backend({}); !cuda) GTEST_SKIP() << cuda.error().message;
  const auto runner = make_runner(*make_cuda_backend({}), {});
  const ModelConfig config = tiny_config();
  const auto dtype = runner->prepare_vision();
  ASSERT_TRUE(dtype);
  size_t free = 0;
  for (int turn = 0; turn < 100; ++turn) {
    const GridThw grid{1, 2 + 2 * (turn % 5), 4};
    std::vector<std::byte> pixels(static_cast<size_t>(grid.num_patches() * 3 * 14 * 14) * dtype_bytes(*dtype));
    ASSERT_TRUE(runner->encode_image(pixels.data(), grid, 0));
    if (turn == 9) free = runner->backend().device_memory().free;
  }
  EXPECT_EQ(runner->backend().device_memory().free, free);
}

}  // namespace
}  // namespace glimpse
