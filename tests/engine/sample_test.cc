// The device's sampling against the host's: the same logits, parameters, seeds and positions draw the same tokens, but
// for draws that fall on a boundary to within rounding. Skipped by name where there is no device.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>

#include "base/clock.h"
#include "kernels/ops.h"
#include "sampling/sampler.h"

namespace glimpse {
namespace {

constexpr int32_t kVocab = 5003;

struct SampleCase {
  std::string name;
  SamplingParams params;
  float spread = 3;  // of the logits
};

std::vector<SampleCase> cases() {
  std::vector<SampleCase> all;
  const auto add = [&](std::string name, SamplingParams params, float spread = 3) {
    params.seed = 1234 + all.size();
    all.push_back({std::move(name), params, spread});
  };
  add("greedy", {.temperature = 0});
  add("plain", {.temperature = 1});
  add("flat", {.temperature = 1}, 0.01f);
  add("hot", {.temperature = 2.5f});
  add("top_k", {.temperature = 1, .top_k = 40});
  add("top_k of one", {.temperature = 1, .top_k = 1});
  add("top_k of more than there are", {.temperature = 1, .top_k = 100000});
  add("top_p", {.temperature = 0.8f, .top_p = 0.9f});
  add("small top_p", {.temperature = 0.8f, .top_p = 0.01f});
  add("flat top_p", {.temperature = 1, .top_p = 0.5f}, 0.01f);
  add("top_k and top_p", {.temperature = 1.2f, .top_k = 100, .top_p = 0.7f});
  add("min_p", {.temperature = 1, .min_p = 0.1f});
  add("min_p and top_p", {.temperature = 1, .top_p = 0.95f, .min_p = 0.05f});
  add("penalties", {.temperature = 0, .repetition_penalty = 1.3f, .frequency_penalty = 0.4f, .presence_penalty = 0.3f});
  add("penalties, drawn", {.temperature = 0.7f, .repetition_penalty = 1.1f, .frequency_penalty = -0.2f});
  add("bias", {.temperature = 0.5f, .logit_bias = {{17, 8.0f}, {18, -100.0f}, {17, 1.0f}}});
  add("min_tokens", {.temperature = 0, .stop_token_ids = {3, 4}, .min_tokens = 12}, 0.5f);
  return all;
}

void check_draws(int num_steps) {
  auto made = make_cuda_backend({});
  if (!made) GTEST_SKIP() << made.error().message;
  Backend& backend = **made;
  const auto stream = backend.make_stream();
  const auto all = cases();
  const auto rows = static_cast<int32_t>(all.size());
  const std::vector<int32_t> prompt = {5, 9, 9, 700, 4000};

  const auto slots = *backend.allocate(all.size() * sizeof(SampleSlot), MemoryKind::kDevice);
  const auto history = *backend.allocate(all.size() * kVocab * sizeof(uint16_t), MemoryKind::kDevice);
  const auto logits_memory = *backend.allocate(all.size() * kVocab * sizeof(float), MemoryKind::kDevice);
  const auto ints = *backend.allocate((1 + 3 * all.size()) * sizeof(int32_t), MemoryKind::kDevice);
  const auto ids = *backend.allocate(all.size() * sizeof(int32_t), MemoryKind::kPinnedHost);
  std::vector<Sampler> samplers;
  std::vector<int32_t> row_slots;
  for (int32_t i = 0; i < rows; ++i) {
    const SamplingParams& p = all[static_cast<size_t>(i)].params;
    samplers.push_back(*Sampler::create(p, kVocab, prompt, {}));
    SampleSlot slot{.temperature = p.temperature,
                    .top_k = p.top_k,
                    .top_p = p.top_p,
                    .min_p = p.min_p,
                    .repetition_penalty = p.repetition_penalty,
                    .frequency_penalty = p.frequency_penalty,
                    .presence_penalty = p.presence_penalty,
                    .min_tokens = p.min_tokens,
                    .seed = *p.seed};
    slot.has_penalties = p.repetition_penalty != 1 || p.frequency_penalty != 0 ? 1 : 0;
    if (!p.logit_bias.empty()) {
      slot.num_bias = 2;
      slot.bias_ids[0] = 17, slot.bias_values[0] = 9.0f;
      slot.bias_ids[1] = 18, slot.bias_values[1] = -100.0f;
    }
    for (const int32_t id : p.stop_token_ids) slot.stop_ids[slot.num_stop++] = id;
    stream->copy(slots.as<SampleSlot>() + i, &slot, sizeof slot);
    std::vector<uint16_t> had(kVocab);
    for (const int32_t id : prompt) had[static_cast<size_t>(id)] = SampleArgs::kInPrompt;
    stream->copy(history.as<uint16_t>() + int64_t{i} * kVocab, had.data(), had.size() * sizeof(uint16_t));
    stream->synchronize();
    row_slots.push_back(i);
  }
  auto* counts = ints.as<int32_t>();
  stream->copy(counts, &rows, sizeof rows);
  stream->copy(counts + 1, row_slots.data(), row_slots.size() * sizeof(int32_t));
  const SampleArgs args{.rows = {counts, rows},
                        .row_slots = counts + 1,
                        .logits = {logits_memory.data(), DType::kF32, rows, kVocab, kVocab},
                        .slots = slots.as<SampleSlot>(),
                        .history = history.as<uint16_t>(),
                        .last_ids = counts + 1 + rows,
                        .ids = ids.as<int32_t>()};
  ASSERT_TRUE(stream->reserve_workspace(backend.ops().sample_workspace(args)));

  std::mt19937 random(7);
  std::vector<int> different(all.size());
  for (int step = 0; step < num_steps; ++step) {
    std::vector<float> logits;
    for (const SampleCase& c : all) {
      std::normal_distribution<float> normal(0, c.spread);
      for (int32_t i = 0; i < kVocab; ++i) logits.push_back(normal(random));
    }
    // Ties, and what is not a number, somewhere.
    logits[100] = logits[50];
    logits[static_cast<size_t>(kVocab) + 7] = std::nanf("");
    stream->copy(logits_memory.data(), logits.data(), logits.size() * sizeof(float));
    sample(args, *stream);
    stream->synchronize();
    for (int32_t i = 0; i < rows; ++i) {
      const auto at = static_cast<size_t>(i);
      const int32_t expected = samplers[at].sample({logits.data() + at * static_cast<size_t>(kVocab), kVocab}).id;
      const int32_t actual = ids.as<int32_t>()[i];
      if (actual == expected) continue;
      ++different[at];
      if (all[at].params.temperature == 0) {
        ADD_FAILURE() << all[at].name << " step " << step << ": " << actual << ", the host " << expected;
      }
      // Both go on from the same token.
      ASSERT_FALSE(all[at].params.repetition_penalty != 1) << all[at].name << ": histories differ from here on";
    }
  }
  for (size_t i = 0; i < all.size(); ++i) {
    std::printf("%s: %d of %d differ\n", all[i].name.c_str(), different[i], num_steps);
    EXPECT_LE(different[i], std::max(1, num_steps / 100)) << all[i].name;
  }
}

TEST(SampleOnDevice, DrawsWhatTheHostDraws) {
  check_draws(200);
}

// For the sanitizers, under which a step takes minutes (scripts/gpu_sanitize.sh).
TEST(SampleOnDevice, FewDraws) {
  check_draws(2);
}

}  // namespace
}  // namespace glimpse
