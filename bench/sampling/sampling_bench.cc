// sampling_bench: one draw from the published models' 151,552 logits. The peaked ones look like a language model's (a
// normal distribution of deviation 3 and a few likely tokens), the flat ones are the worst case.

#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "sampling/sampler.h"

namespace glimpse {
namespace {

constexpr size_t kVocabSize = 151'552;

std::vector<float> make_logits(bool flat) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, flat ? 0.1f : 3.0f);
  std::vector<float> logits(kVocabSize);
  for (float& logit : logits) logit = normal(random);
  if (!flat) {
    for (int i = 0; i < 30; ++i) logits[random() % kVocabSize] = 14 + normal(random);
  }
  return logits;
}

void sample(benchmark::State& state, SamplingParams params, bool flat) {
  params.seed = 1;
  const std::vector<float> logits = make_logits(flat);
  const std::vector<int32_t> prompt(1000, 17);
  Sampler sampler = *Sampler::create(params, kVocabSize, prompt, {});
  for (auto _ : state) benchmark::DoNotOptimize(sampler.sample(logits).id);
}

BENCHMARK_CAPTURE(sample, greedy, SamplingParams{.temperature = 0}, false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, greedy_penalties, (SamplingParams{.temperature = 0, .repetition_penalty = 1.1f}), false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, temperature, SamplingParams{.temperature = 0.8f}, false)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_p, (SamplingParams{.temperature = 0.8f, .top_p = 0.9f}), false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_k, (SamplingParams{.temperature = 0.8f, .top_k = 50}), false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, all,
                  (SamplingParams{
                      .temperature = 0.8f, .top_k = 50, .top_p = 0.6f, .min_p = 0.05f, .repetition_penalty = 1.1f}),
                  false)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, top_p_flat, (SamplingParams{.top_p = 0.9f}), true)->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(sample, logprobs, (SamplingParams{.temperature = 0, .logprobs = 20}), false)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
