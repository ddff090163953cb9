// What the API's text work costs: a body read, a prompt built, a token turned into a chunk.

#include <benchmark/benchmark.h>

#include "api/chat_request.h"
#include "api/prompt_builder.h"
#include "api/responder.h"
#include "bundle/model_source.h"

namespace glimpse {
namespace {

const ModelSource& source() {
  static const auto made = open_model("", LoadFormat::kAuto);
  return *made;
}

const ApiModel& model() {
  static const ApiModel made(source(), {.served_names = {"glimpse-mini"}, .max_model_len = 8192});
  return made;
}

std::string body_with(const std::string& picture, const std::string& fields) {
  const std::string image =
      picture.empty() ? "" : R"({"type":"image_url","image_url":{"url":"data:image/jpeg;base64,)" + picture + "\"}},";
  return R"({"model":"glimpse-mini","messages":[{"role":"system","content":"You see pictures."},)"
         R"({"role":"user","content":[)" +
         image + R"({"type":"text","text":"What is in the picture? 图里有什么?"}]}])" + fields + "}";
}

ChatRequest request_of(const std::string& body) {
  return *parse_chat_request(*parse_body(body), model());
}

void parse_text(benchmark::State& state) {
  const std::string body = body_with("", ",\"temperature\":0.5,\"stream\":true,\"max_tokens\":256");
  for (auto _ : state) benchmark::DoNotOptimize(request_of(body));
}
BENCHMARK(parse_text)->Unit(benchmark::kMicrosecond);

void parse_and_build(benchmark::State& state) {
  const std::string body = body_with("", ",\"temperature\":0.5,\"stream\":true");
  for (auto _ : state) {
    const ChatRequest request = request_of(body);
    benchmark::DoNotOptimize(build_chat_prompt(request, {}, model()));
  }
}
BENCHMARK(parse_and_build)->Unit(benchmark::kMicrosecond);

// A data URL of a picture of 1.2 MB: parsed and decoded.
void parse_picture(benchmark::State& state) {
  std::string base64(1'600'000, 'A');
  for (size_t i = 0; i < base64.size(); ++i) base64[i] = "ABCDxyz0189+/"[i * 7 % 13];
  const std::string body = body_with(base64, "");
  for (auto _ : state) {
    const ChatRequest request = request_of(body);
    benchmark::DoNotOptimize(request.images[0].value.data());
  }
}
BENCHMARK(parse_picture)->Unit(benchmark::kMillisecond);

void stream_token(benchmark::State& state) {
  const bool tools = state.range(0) == 1;
  const std::string fields = tools ? R"(,"stream":true,"tools":[{"type":"function","function":{"name":"f"}}])"
                                   : std::string(",\"stream\":true");
  const ChatRequest request = request_of(body_with("", fields));
  const BuiltPrompt built = *build_chat_prompt(request, {}, model());
  const std::vector<int32_t> ids = *source().tokenizer.encode("The picture shows two cats on a sofa. 图里有两只猫。 ");
  std::string out;
  int64_t tokens = 0;
  for (auto _ : state) {
    const auto responder = Responder::chat(request, built, model(), {.id = "chatcmpl-0123456789abcdef"});
    for (int i = 0; i < 50; ++i) {
      for (const int32_t id : ids) {
        EngineEvent event;
        event.tokens.push_back({.id = id});
        out.clear();
        responder->push(0, event, out);
        benchmark::DoNotOptimize(out.data());
        ++tokens;
      }
    }
  }
  state.SetLabel(tools ? "with tools" : "text");
  state.counters["s_per_token"] =
      benchmark::Counter(static_cast<double>(tokens), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(stream_token)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
