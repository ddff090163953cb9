// Measures a running server over HTTP.
//   server_bench overhead --port P [--image FILE] [--upload raw|base64] [--count 50]
//     the server's own time from the request's first byte to the first engine step, decode and resize left out
//   server_bench streams  --port P --streams 64 --tokens 128 [--pid PID] [--seed S]
//     tokens/s, time to first token, completions' max/median, and CPU time of the server per token; the prompts are
//     others in each run, or with a seed those of the last run with it, which a prefix cache has
//   server_bench early    --port P --image FILE [--count 20] [--seed S] [--account]
//     time to first token of a question: cold, and with upload and draft done first; the pictures are others in each
//     run, or with a seed those of the last run with it. --account prints where each cold question's time went
// A scripted server (tests/server/scripted_server) leaves the model out of the figures.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <thread>

#include "base/json.h"
#include "base/mmap.h"
#include "bench/server/http_client.h"

namespace glimpse {
namespace {

struct Options {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;
  std::string image;
  std::string upload = "base64";
  int count = 50;
  int streams = 64;
  int tokens = 128;
  int prompt_words = 32;
  int seed = 0;  // 0: of the clock
  int pid = 0;
  bool account = false;
  double timeout_s = 85;
};

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(share * static_cast<double>(values.size())))];
}

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) bits = bits << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kAlphabet[bits >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string prompt_of(int seed, int words) {
  static constexpr const char* kWords[] = {"red", "house", "seven", "river", "and", "under", "cloud", "green"};
  std::string text;
  auto state = static_cast<uint32_t>(seed);
  for (int i = 0; i < words; ++i) {
    state = (state * 1103515245u + 12345u) & 0x7fffffffu;
    text += std::string(kWords[(state >> 16) & 7]) + " ";
  }
  return text;
}

json::object chat(json::value content, bool stream, int max_tokens) {
  return {{"messages", json::array{json::object{{"role", "user"}, {"content", std::move(content)}}}},
          {"stream", stream},
          {"max_tokens", max_tokens},
          {"ignore_eos", true},
          {"temperature", 0}};
}

// Whatever a run may not share with the last one begins here; it is others' numbers with a seed.
uint32_t first_seed(const Options& o) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  return o.seed != 0 ? static_cast<uint32_t>(o.seed) : static_cast<uint32_t>(now);
}

// Bytes behind the end of a file change its hash, not what is decoded.
std::string other_picture(const std::string& bytes, std::mt19937& seeds) {
  return bytes + std::to_string(seeds());
}

json::value picture_content(const std::string& bytes, const std::string& file_id, const std::string& text) {
  json::object picture;
  if (file_id.empty()) {
    picture = {{"type", "image_url"}, {"image_url", json::object{{"url", "data:image/jpeg;base64," + base64(bytes)}}}};
  } else {
    picture = {{"type", "file"}, {"file", json::object{{"file_id", file_id}}}};
  }
  return json::array{std::move(picture), json::object{{"type", "text"}, {"text", text}}};
}

// What the server said instead of an answer; status 0: nothing, as where none listens. The program's exit code.
int refused(const LoadResult& result) {
  std::fprintf(stderr, "status %d: %s\n", result.status, result.tail.c_str());
  return 1;
}

LoadResult ask(const Options& o, const std::string& path, const std::string& body,
               const std::string& type = "application/json") {
  return run_load(o.host, o.port, {{post_bytes(path, body, type, false), 0}}, 60).front();
}

// The JSON object that stands last in an answer, whole or streamed.
json::value last_object(const LoadResult& result) {
  std::string text = result.tail;
  if (result.num_events > 0) {
    size_t at = text.rfind("data: {");
    if (at == std::string::npos) return nullptr;
    text = text.substr(at + 6);
    text = text.substr(0, text.find("\n\n"));
  } else {
    const size_t head = text.find("\r\n\r\n");
    if (head != std::string::npos) text = text.substr(head + 4);
  }
  auto value = parse_json(text);
  return value ? *std::move(value) : json::value();
}

double span_of(const json::value& answer, std::string_view name, std::string_view what) {
  for (const json::value& span : answer.at("latency").at("spans").as_array()) {
    if (span.at("name").as_string() == name) return span.at(what).to_number<double>();
  }
  return 0;
}

// One line: the client's time, then each span's begin and duration, by the server's clock.
void print_account(double client_ms, const json::value& answer) {
  fmt::print("{:7.2f} ms:", client_ms);
  for (const json::value& span : answer.at("latency").at("spans").as_array()) {
    const std::string_view name = span.at("name").as_string();
    if (name == "decode" || name == "stream") continue;
    fmt::print(" {} {:.1f}+{:.1f}", name, span.at("start_ms").to_number<double>(),
               span.at("duration_ms").to_number<double>());
  }
  fmt::print("\n");
}

int overhead(const Options& o) {
  std::string bytes;
  if (!o.image.empty()) {
    auto read = read_file(o.image, size_t{64} << 20);
    if (!read) return std::fprintf(stderr, "%s\n", read.error().message.c_str()), 1;
    bytes = *std::move(read);
  }
  std::mt19937 seeds(static_cast<uint32_t>(o.seed));  // a second run's pictures are known
  std::vector<double> own;
  std::vector<double> decode;
  for (int i = 0; i < o.count; ++i) {
    const std::string text = prompt_of(i, o.prompt_words);
    std::string body;
    std::string type = "application/json";
    if (bytes.empty()) {
      body = json::serialize(chat(json::value(text), false, 2));
    } else if (o.upload == "base64") {
      body = json::serialize(chat(picture_content(other_picture(bytes, seeds), "", text), false, 2));
    } else {
      type = "multipart/form-data; boundary=glimpse-bench";
      const std::string request = json::serialize(chat(picture_content("", "p", text), false, 2));
      body = "--glimpse-bench\r\ncontent-disposition: form-data; name=\"request\"\r\n\r\n" + request +
             "\r\n--glimpse-bench\r\ncontent-disposition: form-data; name=\"p\"; filename=\"p\"\r\n\r\n" +
             other_picture(bytes, seeds) + "\r\n--glimpse-bench--\r\n";
    }
    const LoadResult result = ask(o, "/v1/chat/completions", body, type);
    const json::value answer = last_object(result);
    if (result.status != 200 || !answer.is_object()) {
      return refused(result);
    }
    // What lies before the first step, without what pictures cost by themselves.
    const double pictures = span_of(answer, "decode_image", "exclusive_ms") +
                            span_of(answer, "preprocess", "exclusive_ms") + span_of(answer, "vision", "exclusive_ms");
    own.push_back(span_of(answer, "prefill", "start_ms") - pictures);
    decode.push_back(pictures);
  }
  fmt::print(
      "first byte to first step, pictures' own work left out: median {:.3f} ms, p95 {:.3f} ms (n = {}; body {})\n",
      percentile(own, 0.5), percentile(own, 0.95), own.size(),
      bytes.empty() ? "text" : fmt::format("{} KiB picture as {}", bytes.size() / 1024, o.upload));
  if (!bytes.empty()) fmt::print("decode, resize and vision: median {:.3f} ms\n", percentile(decode, 0.5));
  return 0;
}

int streams(const Options& o) {
  std::mt19937 seeds(first_seed(o));
  std::vector<LoadRequest> requests;
  for (int i = 0; i < o.streams; ++i) {
    const auto seed = static_cast<int>(seeds() >> 1);
    const json::object body = chat(json::value(prompt_of(seed, o.prompt_words)), true, o.tokens);
    requests.push_back({post_bytes("/v1/chat/completions", json::serialize(body), "application/json", false), 0});
  }
  const double cpu_before = process_cpu_s(o.pid);
  const auto results = run_load(o.host, o.port, requests, o.timeout_s);
  const double cpu_s = process_cpu_s(o.pid) - cpu_before;
  std::vector<double> first;
  std::vector<double> ends;
  int64_t tokens = 0;
  int failed = 0;
  for (const LoadResult& result : results) {
    const json::value answer = last_object(result);
    if (result.status != 200 || result.end_ns == 0 || !answer.is_object() || !answer.get_object().contains("latency")) {
      ++failed;
      continue;
    }
    tokens += answer.at("latency").at("completion_tokens").to_number<int64_t>();
    first.push_back(static_cast<double>(result.first_event_ns - result.sent_ns) / 1e6);
    ends.push_back(static_cast<double>(result.end_ns - result.sent_ns) / 1e6);
  }
  if (ends.empty()) return std::fprintf(stderr, "all %d requests failed\n", failed), 1;
  const double wall_s = percentile(ends, 1.0) / 1e3;
  fmt::print("{} streams: {} tokens in {:.3f} s = {:.0f} tokens/s; {} failed\n", o.streams, tokens, wall_s,
             static_cast<double>(tokens) / wall_s, failed);
  fmt::print("time to first token: median {:.2f} ms, p95 {:.2f} ms; completion max/median {:.2f}\n",
             percentile(first, 0.5), percentile(first, 0.95), percentile(ends, 1.0) / percentile(ends, 0.5));
  if (o.pid > 0) {
    fmt::print("CPU time of the server: {:.1f} us a token\n", cpu_s * 1e6 / static_cast<double>(tokens));
  }
  return failed == 0 ? 0 : 1;
}

int early(const Options& o) {
  auto bytes = read_file(o.image, size_t{64} << 20);
  if (!bytes) return std::fprintf(stderr, "%s\n", bytes.error().message.c_str()), 1;
  std::mt19937 seeds(first_seed(o));
  std::vector<double> cold;
  std::vector<double> warm;
  std::vector<double> warm_server;
  for (int i = 0; i < o.count; ++i) {
    const std::string text = "What is in picture " + std::to_string(i) + ", please?";
    // Cold: the picture comes with the question.
    const std::string cold_body =
        json::serialize(chat(picture_content(other_picture(*bytes, seeds), "", text), true, 4));
    const LoadResult first = ask(o, "/v1/chat/completions", cold_body);
    if (first.status != 200) return refused(first);
    cold.push_back(static_cast<double>(first.first_event_ns - first.sent_ns) / 1e6);
    if (o.account) print_account(cold.back(), last_object(first));
    // Early: the picture, then a draft without the last word, then the question.
    const LoadResult uploaded = ask(o, "/v1/files", other_picture(*bytes, seeds), "image/jpeg");
    const json::value file = last_object(uploaded);
    if (uploaded.status != 200 || !file.is_object()) return refused(uploaded);
    const std::string id(file.at("id").as_string());
    const std::string draft_body = json::serialize(chat(picture_content("", id, text), false, 4));
    if (ask(o, "/v1/chat/drafts", draft_body).status != 200) return 1;
    const LoadResult question =
        ask(o, "/v1/chat/completions", json::serialize(chat(picture_content("", id, text), true, 4)));
    if (question.status != 200) return refused(question);
    warm.push_back(static_cast<double>(question.first_event_ns - question.sent_ns) / 1e6);
    const json::value answer = last_object(question);
    warm_server.push_back(span_of(answer, "first_token", "start_ms") + span_of(answer, "first_token", "duration_ms"));
  }
  const double share = percentile(warm, 0.5) / percentile(cold, 0.5);
  fmt::print(
      "time to first token, {} KiB picture, n = {}: cold {:.2f} ms, after upload and draft {:.2f} ms ({:.1f} %), "
      "in the server {:.2f} ms (medians)\n",
      bytes->size() / 1024, o.count, percentile(cold, 0.5), percentile(warm, 0.5), 100 * share,
      percentile(warm_server, 0.5));
  return 0;
}

int main_of(int argc, char** argv) {
  CLI::App app{"Measures a running server over HTTP"};
  app.require_subcommand(1);
  Options options;
  const auto add = [&](const char* name, const char* help) {
    CLI::App* command = app.add_subcommand(name, help);
    command->add_option("--host", options.host);
    command->add_option("--port", options.port);
    command->add_option("--image", options.image);
    command->add_option("--upload", options.upload)->check(CLI::IsMember({"raw", "base64"}));
    command->add_option("--count", options.count);
    command->add_option("--streams", options.streams);
    command->add_option("--tokens", options.tokens);
    command->add_option("--prompt-words", options.prompt_words);
    command->add_option("--seed", options.seed);
    command->add_option("--pid", options.pid);
    command->add_flag("--account", options.account);
    command->add_option("--timeout", options.timeout_s);
    return command;
  };
  const CLI::App* const overhead_command = add("overhead", "Time before the first engine step");
  const CLI::App* const streams_command = add("streams", "Many streams at once");
  add("early", "Time to first token after upload and draft");
  CLI11_PARSE(app, argc, argv);
  if (overhead_command->parsed()) return overhead(options);
  if (streams_command->parsed()) return streams(options);
  return early(options);
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  return glimpse::main_of(argc, argv);
}
