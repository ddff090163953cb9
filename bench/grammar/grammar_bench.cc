// What constrained decoding costs a step, over a vocabulary as large as the published models': 151,552 ids, made of
// glimpse-mini's tokens and of pairs of them, which gives lengths like theirs.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <set>

#include "bundle/model_source.h"
#include "grammar/grammar_cache.h"
#include "grammar/mask.h"

namespace glimpse {
namespace {

constexpr size_t kVocabSize = 151552;
constexpr int32_t kStopId = 0;

const std::shared_ptr<const Vocabulary>& vocabulary() {
  static const auto made = [] {
    const auto source = open_model("", LoadFormat::kAuto);
    std::vector<std::string> base;
    for (int32_t id = 0; id < source->tokenizer.vocab_size(); ++id) {
      if (!source->tokenizer.is_special(id)) base.emplace_back(source->tokenizer.token_bytes(id));
    }
    std::set<std::string> all(base.begin(), base.end());
    std::mt19937_64 random(1);
    while (all.size() + 1 < kVocabSize) all.insert(base[random() % base.size()] + base[random() % base.size()]);
    static std::vector<std::string> texts(1);
    texts.insert(texts.end(), all.begin(), all.end());
    const std::vector<std::string_view> tokens(texts.begin(), texts.end());
    return Vocabulary::make(tokens);
  }();
  return made;
}

const std::vector<std::pair<const char*, Constraint>>& constraints() {
  static const std::vector<std::pair<const char*, Constraint>> all = {
      {"json_object", {.kind = Constraint::Kind::kJsonObject}},
      {"person",
       {.kind = Constraint::Kind::kJsonSchema,
        .schema = json::parse(R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"},
            "tags":{"type":"array","items":{"type":"string","maxLength":40}},"address":{"type":"object","properties":{
            "street":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},"required":["street","zip"]}},
            "required":["name","age","tags","address"]})")}},
      {"regex", {.kind = Constraint::Kind::kRegex, .text = "(\\w+ ){5,20}[a-z]+\\."}},
  };
  return all;
}

// One answer of at most `num_tokens`, drawn at random with a taste for ends.
size_t write_answer(const std::shared_ptr<const Grammar>& grammar, std::mt19937_64& random, size_t num_tokens) {
  const auto mask = make_mask(vocabulary(), grammar, {.stop_ids = {kStopId}});
  for (size_t step = 0; step < num_tokens; ++step) {
    const auto words = mask->allowed();
    // The first allowed id from a random place on: what a sampler does is not to be measured here.
    const size_t start = random() % words.size();
    int32_t id = -1;
    for (size_t i = 0; i < words.size() && id < 0; ++i) {
      const size_t w = (start + i) % words.size();
      if (words[w] != 0) id = static_cast<int32_t>(w * 64 + static_cast<size_t>(__builtin_ctzll(words[w])));
    }
    if (id == kStopId) return step + 1;
    mask->accept(id);
  }
  return num_tokens;
}

// The same grammar for all answers, its masks known after the first ones.
void warm_step(benchmark::State& state) {
  const auto& [name, constraint] = constraints()[static_cast<size_t>(state.range(0))];
  const auto grammar = *compile(constraint);
  std::mt19937_64 random(2);
  for (int i = 0; i < 5; ++i) write_answer(grammar, random, 200);
  int64_t steps = 0;
  for (auto _ : state) steps += static_cast<int64_t>(write_answer(grammar, random, 200));
  state.SetLabel(name);
  state.counters["s_per_step"] =
      benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(warm_step)->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

// A grammar never seen before: compiled, one answer of up to 200 tokens.
void cold_answer(benchmark::State& state) {
  const auto& [name, constraint] = constraints()[static_cast<size_t>(state.range(0))];
  vocabulary();
  std::mt19937_64 random(3);
  int64_t steps = 0;
  for (auto _ : state) steps += static_cast<int64_t>(write_answer(*compile(constraint), random, 200));
  state.SetLabel(name);
  state.counters["s_per_step"] =
      benchmark::Counter(static_cast<double>(steps), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(cold_answer)->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

void make_vocabulary(benchmark::State& state) {
  std::vector<std::string_view> tokens;
  for (size_t id = 0; id < vocabulary()->size(); ++id) tokens.push_back(vocabulary()->bytes(static_cast<int32_t>(id)));
  for (auto _ : state) benchmark::DoNotOptimize(Vocabulary::make(tokens));
}
BENCHMARK(make_vocabulary)->Unit(benchmark::kMillisecond);

void compile_only(benchmark::State& state) {
  const auto& [name, constraint] = constraints()[static_cast<size_t>(state.range(0))];
  for (auto _ : state) benchmark::DoNotOptimize(compile(constraint));
  state.SetLabel(name);
}
BENCHMARK(compile_only)->DenseRange(0, 2)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
