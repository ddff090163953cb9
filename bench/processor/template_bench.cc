// glimpse-mini's chat template: compiled at start, rendered once per request.

#include <benchmark/benchmark.h>

#include <fstream>
#include <sstream>

#include "processor/chat_template.h"

namespace glimpse {
namespace {

std::string mini_template() {
  std::ifstream in(GLIMPSE_SOURCE_DIR "/models/glimpse-mini/chat_template.jinja", std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

json::array conversation(int64_t turns) {
  json::array messages;
  for (int64_t i = 0; i < turns; ++i) {
    messages.push_back({{"role", "user"},
                        {"content",
                         {{{"type", "image_url"}, {"image_url", {{"url", "a.png"}}}},
                          {{"type", "text"}, {"text", "图里有几只猫? How many cats are there?"}}}}});
    messages.push_back({{"role", "assistant"}, {"content", "<think>I look.</think>\nTwo cats. 两只猫。"}});
  }
  messages.push_back({{"role", "user"}, {"content", "Sure?"}});
  return messages;
}

void BM_Compile(benchmark::State& state) {
  const std::string source = mini_template();
  for (auto _ : state) benchmark::DoNotOptimize(ChatTemplate::load(source, nullptr));
}
BENCHMARK(BM_Compile);

void BM_Render(benchmark::State& state) {
  const auto chat = ChatTemplate::load(mini_template(), nullptr);
  const json::array messages = conversation(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(chat->render(messages, nullptr, {}));
}
BENCHMARK(BM_Render)->Arg(1)->Arg(20);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
