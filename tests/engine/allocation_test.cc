// A decode step allocates nothing once it is warm: every operator new of this program is counted.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/engine_loop.h"
#include "engine/generator.h"
#include "engine/host_step_runner.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "weights/checkpoint.h"

namespace {

std::atomic<int64_t> allocations{0};

void* count_and_allocate(size_t size, size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* memory = alignment <= alignof(std::max_align_t)
                     ? std::malloc(size)
                     : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

void* operator new(size_t size) {
  return count_and_allocate(size, 0);
}
void* operator new[](size_t size) {
  return count_and_allocate(size, 0);
}
void* operator new(size_t size, std::align_val_t alignment) {
  return count_and_allocate(size, static_cast<size_t>(alignment));
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace glimpse {
namespace {

class AllocationTest : public testing::TestWithParam<Quantization> {};

TEST_P(AllocationTest, WarmDecodeStepsAllocateNothing) {
  const std::string directory = std::string(GLIMPSE_SOURCE_DIR) + "/models/glimpse-mini";
  const auto text = read_file(directory + "/config.json", 1 << 20);
  const auto config = parse_model_config(*text, "config.json");
  ASSERT_TRUE(config);
  auto source = Checkpoint::open(directory);
  ASSERT_TRUE(source);
  auto backend = make_cpu_backend({.num_threads = 2});
  ASSERT_TRUE(backend);
  const auto runner = Runner::create(*std::move(backend), *config, std::make_shared<Checkpoint>(*std::move(source)),
                                     {.quantization = GetParam(), .max_model_len = 512});
  ASSERT_TRUE(runner) << runner.error().message;
  const auto prompt = make_prompt(*config, std::vector<int32_t>(100, 17), {});
  ASSERT_TRUE(prompt);
  const SteadyClock clock;
  Generator generator(**runner, clock);
  LatencyAccount account(clock.now_ns(), 1000);
  int steps = 0;
  int64_t before = 0;
  const auto result = generator.generate({.prompt = &*prompt, .sampling = {.temperature = 0}, .max_tokens = 200},
                                         account, [&](const SampledToken&, std::span<const float>) {
                                           if (++steps == 8) before = allocations.load();
                                           return steps < 150;
                                         });
  ASSERT_TRUE(result);
  ASSERT_EQ(steps, 150);
  // Counted until generate() returned: its result is moved out, not copied.
  EXPECT_EQ(allocations.load() - before, 0);
}

// The engine's loop with several streams: nothing but what it hands to the callers, a list of tokens and one of spans.
TEST(EngineAllocation, AStepAllocatesItsEventsOnly) {
  const std::string folder = std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/model/tiny_gqa2_v5/checkpoint";
  const auto config = parse_model_config(*read_file(folder + "/config.json", 1 << 20), "config.json");
  ASSERT_TRUE(config);
  auto runner = Runner::create(*make_cpu_backend({.num_threads = 2}), *config,
                               std::make_shared<Checkpoint>(*Checkpoint::open(folder)),
                               {.dtype = DType::kBF16, .max_model_len = 512, .max_num_seqs = 4, .num_kv_tokens = 2048});
  ASSERT_TRUE(runner);
  const SteadyClock clock;
  HostStepRunner steps(**runner, clock);
  EngineLoop loop(steps, clock, {}, nullptr);
  int64_t events = 0;
  for (uint64_t i = 1; i <= 4; ++i) {
    EngineRequest request;
    request.prompt = *make_prompt(*config, std::vector<int32_t>(10 + i, static_cast<int32_t>(i)), {});
    if (i % 2 == 0) request.sampling.temperature = 0;
    request.max_tokens = 400;
    request.on_event = [&](const EngineEvent&) { ++events; };
    auto active = make_active(std::move(request), steps.info(), "tiny", clock.now_ns());
    ASSERT_TRUE(active);
    (*active)->id = i;
    loop.add(*std::move(active));
  }
  while (events < 40) loop.step();
  const int64_t before = allocations.load();
  const int64_t first = events;
  for (int i = 0; i < 200; ++i) loop.step();
  EXPECT_EQ(events - first, 800);
  EXPECT_LE(allocations.load() - before, 2 * 800);
  loop.cancel_all();
}

INSTANTIATE_TEST_SUITE_P(Formats, AllocationTest,
                         testing::Values(Quantization::kNone, Quantization::kInt8, Quantization::kInt4));

}  // namespace
}  // namespace glimpse
