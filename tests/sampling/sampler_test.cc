#include "sampling/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "base/json.h"
#include "base/mmap.h"

namespace glimpse {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Sampler make(const SamplingParams& params, size_t vocab_size, const std::vector<int32_t>& prompt = {},
             const std::vector<int32_t>& stop = {}) {
  auto sampler = Sampler::create(params, vocab_size, prompt, stop);
  EXPECT_TRUE(sampler) << sampler.error().message;
  return *std::move(sampler);
}

struct Case {
  SamplingParams params;
  std::vector<float> logits;
  std::vector<int32_t> prompt;
  std::vector<int32_t> output;
  std::map<int32_t, double> probabilities;
  std::string name;
};

std::vector<int32_t> ids_in(const json::value& value) {
  std::vector<int32_t> ids;
  for (const json::value& id : value.as_array()) ids.push_back(static_cast<int32_t>(id.as_int64()));
  return ids;
}

std::vector<Case> read_cases() {
  const json::value golden =
      *parse_json(*read_file(GLIMPSE_SOURCE_DIR "/tests/sampling/goldens/distributions.json", 1 << 22));
  const auto unit = golden.at("logits_unit").to_number<float>();
  std::vector<Case> cases;
  for (const json::value& value : golden.at("cases").as_array()) {
    Case c;
    const json::object& params = value.at("params").as_object();
    const auto number = [&params](const char* key, double fallback) { return *get_double(params, key, fallback); };
    c.params.temperature = static_cast<float>(number("temperature", 1));
    c.params.top_k = static_cast<int32_t>(number("top_k", 0));
    c.params.top_p = static_cast<float>(number("top_p", 1));
    c.params.min_p = static_cast<float>(number("min_p", 0));
    c.params.repetition_penalty = static_cast<float>(number("repetition_penalty", 1));
    c.params.frequency_penalty = static_cast<float>(number("frequency_penalty", 0));
    c.params.presence_penalty = static_cast<float>(number("presence_penalty", 0));
    c.params.min_tokens = static_cast<int32_t>(number("min_tokens", 0));
    if (const json::value* ids = find(params, "stop_token_ids")) c.params.stop_token_ids = ids_in(*ids);
    if (const json::value* list = find(params, "logit_bias")) {
      for (const json::value& pair : list->as_array()) {
        c.params.logit_bias.emplace_back(pair.at(0).to_number<int32_t>(), pair.at(1).to_number<float>());
      }
    }
    for (const json::value& logit : value.at("logits").as_array()) c.logits.push_back(logit.to_number<float>() / unit);
    c.prompt = ids_in(value.at("prompt"));
    c.output = ids_in(value.at("output"));
    for (const auto& [id, p] : value.at("probabilities").as_object()) {
      c.probabilities[std::stoi(std::string(id))] = p.to_number<double>();
    }
    c.name = json::serialize(params);
    cases.push_back(std::move(c));
  }
  return cases;
}

// A sampler that has drawn c.output: each time one token was all but certain.
Sampler after_output(const Case& c, const SamplingParams& params) {
  Sampler sampler = make(params, c.logits.size(), c.prompt);
  for (const int32_t id : c.output) {
    std::vector<float> forced(c.logits.size(), -1e6f);
    forced[static_cast<size_t>(id)] = 1e6f;
    EXPECT_EQ(sampler.sample(forced).id, id);
  }
  return sampler;
}

// Draws against the probabilities that transformers' logits processors leave. The seeds are fixed, so this passes or
// fails for ever; the chi-square bound is the mean plus five standard deviations.
TEST(Sampler, DrawsFromTransformersDistributions) {
  const std::vector<Case> cases = read_cases();
  ASSERT_GE(cases.size(), 20u);
  constexpr int kDraws = 4000;
  for (const Case& c : cases) {
    std::map<int32_t, int> counts;
    SamplingParams params = c.params;
    for (int i = 0; i < kDraws; ++i) {
      params.seed = static_cast<uint64_t>(i);
      Sampler sampler = after_output(c, params);
      ++counts[sampler.sample(c.logits).id];
    }
    for (const auto& [id, count] : counts) {
      ASSERT_TRUE(c.probabilities.contains(id)) << c.name << ": drew " << id << ", which is excluded, " << count << "x";
    }
    double chi_square = 0;
    int degrees = -1;
    double rest_expected = 0;
    double rest_count = 0;
    for (const auto& [id, p] : c.probabilities) {
      if (p * kDraws < 5) {  // too rare for the statistic: counted together
        rest_expected += p * kDraws;
        rest_count += counts[id];
        continue;
      }
      chi_square += std::pow(counts[id] - p * kDraws, 2) / (p * kDraws);
      ++degrees;
    }
    if (rest_expected >= 5) {
      chi_square += std::pow(rest_count - rest_expected, 2) / rest_expected;
      ++degrees;
    }
    EXPECT_LE(chi_square, degrees + 5 * std::sqrt(2.0 * std::max(degrees, 1))) << c.name;
  }
}

TEST(Sampler, GreedyTakesTheLikeliestAfterPenalties) {
  for (const Case& c : read_cases()) {
    SamplingParams params = c.params;
    params.temperature = 0;
    int32_t likeliest = -1;
    double best = -1;
    for (const auto& [id, p] : c.probabilities) {
      if (p <= best) continue;
      best = p;
      likeliest = id;
    }
    EXPECT_EQ(after_output(c, params).sample(c.logits).id, likeliest) << c.name;
  }
}

TEST(Sampler, ASeedDrawsTheSameAgain) {
  const Case c = read_cases()[0];
  const auto draws = [&](uint64_t seed) {
    SamplingParams params{.temperature = 1.5f, .top_p = 0.95f};
    params.seed = seed;
    Sampler sampler = make(params, c.logits.size());
    std::vector<int32_t> ids;
    ids.reserve(60);
    for (int i = 0; i < 60; ++i) ids.push_back(sampler.sample(c.logits).id);
    return ids;
  };
  EXPECT_EQ(draws(7), draws(7));
  EXPECT_NE(draws(7), draws(8));
}

TEST(Sampler, TopPOfAFlatVocabularyKeepsTheLowestIds) {
  // All equal: ties go to the lower id, so top_p 0.25 keeps the first quarter.
  const std::vector<float> logits(4096, 1.0f);
  SamplingParams params{.top_p = 0.25f};
  params.seed = 1;
  Sampler sampler = make(params, logits.size());
  int32_t largest = 0;
  for (int i = 0; i < 5000; ++i) largest = std::max(largest, sampler.sample(logits).id);
  EXPECT_LT(largest, 1024);
  EXPECT_GT(largest, 1000);
}

TEST(Sampler, BrokenLogits) {
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 0}, SamplingParams{}, SamplingParams{.top_k = 3}, SamplingParams{.top_p = 0.9f},
        SamplingParams{.min_p = 0.5f}, SamplingParams{.top_k = 2, .top_p = 0.5f, .min_p = 0.1f}}) {
    SamplingParams with_logprobs = params;
    with_logprobs.logprobs = 20;
    for (const SamplingParams& p : {params, with_logprobs}) {
      Sampler sampler = make(p, 5);
      EXPECT_EQ(sampler.sample(std::vector<float>{NAN, NAN, 1, NAN, NAN}).id, 2);
      EXPECT_EQ(sampler.sample(std::vector<float>{0, 1, 2, kInfinity, 4}).id, 3);
      EXPECT_EQ(sampler.sample(std::vector<float>(5, NAN)).id, 0);
      EXPECT_EQ(sampler.sample(std::vector<float>(5, -kInfinity)).id, 0);
      EXPECT_EQ(sampler.sample(std::vector<float>{-kInfinity, 3e38f, -3e38f, NAN, -kInfinity}).id, 1);
    }
  }
}

TEST(Sampler, StopTokensOutsideTheVocabularyAreNothing) {
  SamplingParams params{.temperature = 0, .min_tokens = 1};
  Sampler sampler = make(params, 4, {}, {2, 4, -1, 1 << 30});
  const std::vector<float> logits = {0, 1, 5, 2};
  EXPECT_EQ(sampler.sample(logits).id, 3);
  EXPECT_EQ(sampler.sample(logits).id, 2);
}

TEST(Sampler, LogprobsAreOfTheRawLogits) {
  const Case c = read_cases()[1];
  SamplingParams params{.temperature = 0.3f, .top_k = 2, .repetition_penalty = 1.7f, .logprobs = 5};
  params.logit_bias = {{4, -50.0f}};
  params.seed = 3;
  Sampler sampler = make(params, c.logits.size(), c.prompt);
  double sum = 0;
  for (const float logit : c.logits) sum += std::exp(double{logit});
  const SampledToken token = sampler.sample(c.logits);
  // Float logits and a float result; the weights are good to 2.5e-6 (weights_test.cc).
  EXPECT_NEAR(token.logprob, double{c.logits[static_cast<size_t>(token.id)]} - std::log(sum), 5e-6);
  ASSERT_EQ(token.top_logprobs.size(), 5u);
  std::vector<int32_t> order(c.logits.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int32_t>(i);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return c.logits[static_cast<size_t>(a)] > c.logits[static_cast<size_t>(b)];
  });
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(token.top_logprobs[i].first, order[i]);
    EXPECT_NEAR(token.top_logprobs[i].second, double{c.logits[static_cast<size_t>(order[i])]} - std::log(sum), 5e-6);
  }
}

// One token all but certain: the rest must be named all the same.
TEST(Sampler, LogprobsOfACertainToken) {
  SamplingParams params{.temperature = 0, .logprobs = 3};
  Sampler sampler = make(params, 6);
  const SampledToken token = sampler.sample(std::vector<float>{0, 500, 1, 2, 3, 3});
  EXPECT_EQ(token.id, 1);
  EXPECT_EQ(token.logprob, 0);
  ASSERT_EQ(token.top_logprobs.size(), 3u);
  EXPECT_EQ(token.top_logprobs[1], (std::pair<int32_t, float>(4, -497.0f)));
  EXPECT_EQ(token.top_logprobs[2], (std::pair<int32_t, float>(5, -497.0f)));
}

TEST(Philox, KnownAnswers) {
  // Random123's kat_vectors, "philox4x32 10": counter and key all zero begin 6627e8d5.
  EXPECT_EQ(philox_uniform(0, 0), static_cast<float>(0x6627e8) * 0x1p-24f);
  EXPECT_NE(philox_uniform(0, 1), philox_uniform(1, 0));
  double mean = 0;
  for (uint64_t i = 0; i < 100'000; ++i) {
    const float u = philox_uniform(42, i);
    ASSERT_TRUE(u >= 0 && u < 1);
    mean += double{u} / 100'000;
  }
  EXPECT_NEAR(mean, 0.5, 5 * std::sqrt(1.0 / 12 / 100'000)) << "five standard deviations";
}

}  // namespace
}  // namespace glimpse
