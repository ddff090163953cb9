// tokenizer_bench [--benchmark_...]: load time, encoding and decoding rates.
// GLIMPSE_TOKENIZER names a tokenizer.json (without it: glimpse-mini's), GLIMPSE_TEXT a text file to encode (without
// it: generated Chinese, English, code and signs). python/reference/make_large_tokenizer.py writes a pair of the
// published models' size.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "base/json.h"
#include "base/mmap.h"
#include "tests/tokenizer/string_generator.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/tokenizer.h"

namespace glimpse {
namespace {

std::string tokenizer_path() {
  const char* path = std::getenv("GLIMPSE_TOKENIZER");
  return path != nullptr ? path : GLIMPSE_SOURCE_DIR "/models/glimpse-mini/tokenizer.json";
}

template <typename T>
T or_exit(Result<T> result) {
  if (result) return *std::move(result);
  std::cerr << result.error().message << "\n";
  std::exit(exit_code(result.error().code));
}

std::string text() {
  if (const char* path = std::getenv("GLIMPSE_TEXT")) return or_exit(read_file(path, Tokenizer::kMaxTextBytes));
  const json::value list =
      or_exit(parse_json(or_exit(read_file(GLIMPSE_SOURCE_DIR "/tests/tokenizer/fragments.json", 1 << 20))));
  std::vector<std::string> fragments;
  for (const json::value& value : list.as_array()) fragments.emplace_back(value.as_string());
  StringGenerator generator(std::move(fragments), true);
  std::string out;
  for (uint64_t i = 0; out.size() < 4'000'000; ++i) out += generator.make(31, i);
  return out;
}

void load(benchmark::State& state) {
  const std::string path = tokenizer_path();
  for (auto _ : state) benchmark::DoNotOptimize(or_exit(Tokenizer::load(path)));
}
BENCHMARK(load)->Unit(benchmark::kMillisecond);

void encode(benchmark::State& state) {
  const Tokenizer tokenizer = or_exit(Tokenizer::load(tokenizer_path()));
  const std::string whole = text();
  size_t tokens = 0;
  for (auto _ : state) tokens = or_exit(tokenizer.encode(whole)).size();
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * whole.size()));
  state.counters["bytes_per_token"] = static_cast<double>(whole.size()) / static_cast<double>(tokens);
}
BENCHMARK(encode)->Unit(benchmark::kMillisecond);

// As prompts come: 2 KB each.
void encode_prompts(benchmark::State& state) {
  const Tokenizer tokenizer = or_exit(Tokenizer::load(tokenizer_path()));
  const std::string whole = text();
  for (auto _ : state) {
    for (size_t at = 0; at < whole.size(); at += 2048) {
      benchmark::DoNotOptimize(or_exit(tokenizer.encode(std::string_view(whole).substr(at, 2048))));
    }
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * whole.size()));
}
BENCHMARK(encode_prompts)->Unit(benchmark::kMillisecond);

void encode_one_word(benchmark::State& state) {
  const Tokenizer tokenizer = or_exit(Tokenizer::load(tokenizer_path()));
  std::string word;
  for (uint64_t i = 0; word.size() < 1 << 20; ++i) word += static_cast<char>('a' + i * i % 89 % 26);
  for (auto _ : state) benchmark::DoNotOptimize(or_exit(tokenizer.encode(word)));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * word.size()));
}
BENCHMARK(encode_one_word)->Unit(benchmark::kMillisecond);

void detokenize(benchmark::State& state) {
  const Tokenizer tokenizer = or_exit(Tokenizer::load(tokenizer_path()));
  const std::string whole = text();
  const std::vector<int32_t> ids = or_exit(tokenizer.encode(whole));
  for (auto _ : state) {
    Detokenizer detokenizer(tokenizer);
    for (const int32_t id : ids) benchmark::DoNotOptimize(detokenizer.push(id));
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * ids.size()));
}
BENCHMARK(detokenize)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
