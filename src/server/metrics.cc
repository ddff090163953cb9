#include "server/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <map>
#include <sstream>
#include <vector>

#include "server/latency_window.h"

namespace glimpse {

namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

// vLLM's boundaries, so that dashboards and quantiles over mixed fleets keep working, with finer ones below.
const Buckets kFirstToken = {0.0002, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02,
                             0.03,   0.04,   0.06,  0.08,  0.1,   0.15,  0.25,   0.5,  0.75,  1,
                             2.5,    5,      7.5,   10,    20,    40,    80,     160,  640,   2560};
const Buckets kPerToken = {0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01,
                           0.015,  0.025,  0.05,   0.075, 0.1,   0.15,  0.2,   0.3,   0.4,    0.5,
                           0.75,   1,      2.5,    5,     7.5,   10,    20,    40,    80};
const Buckets kWhole = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1,   1.5,  2,   2.5,
                        5,     10,     15,    20,   30,    40,   50,  60,  120, 240, 480, 960, 1920, 7680};
const Buckets kSpan = {0.00001, 0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02,
                       0.05,    0.1,     0.2,     0.5,    1,      2,      5,     10,    30,    60,   120};
const Buckets kChoices = {1, 2, 5, 10, 20};
const Buckets kStepTokens = {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};

Buckets token_buckets(int32_t most) {
  Buckets buckets;
  for (double power = 1;; power *= 10) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit * power > most) return buckets;
      buckets.push_back(digit * power);
    }
  }
}

int64_t resident_bytes() {
  long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return int64_t{pages} * ::sysconf(_SC_PAGESIZE);
}

}  // namespace

struct Metrics::Impl {
  Impl(const std::string& model_name, int32_t max_model_len, const Clock& the_clock)
      : labels{{"model_name", model_name}, {"engine", "0"}}, tokens(token_buckets(max_model_len)), clock(the_clock) {}

  prometheus::Histogram& histogram(const std::string& name, const std::string& help, const Buckets& buckets,
                                   const prometheus::Labels& more = {}) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add(with(more), buckets);
  }
  prometheus::Counter& counter(const std::string& name, const std::string& help, const prometheus::Labels& more = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add(with(more));
  }
  void gauge(const std::string& name, const std::string& help, double value, const prometheus::Labels& more = {}) {
    prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add(with(more)).Set(value);
  }
  // A counter that somebody else counts.
  void follow(const std::string& name, const std::string& help, double value, const prometheus::Labels& more = {}) {
    prometheus::Counter& mine = counter(name, help, more);
    if (value > mine.Value()) mine.Increment(value - mine.Value());
  }
  prometheus::Labels with(prometheus::Labels more) const {
    more.insert(labels.begin(), labels.end());
    return more;
  }

  prometheus::Registry registry{prometheus::Registry::InsertBehavior::Merge};
  const prometheus::Labels labels;
  const Buckets tokens;
  const Clock& clock;
  LatencyWindow first_tokens;

  prometheus::Histogram& first_token =
      histogram("vllm:time_to_first_token_seconds", "From the arrival to the first token", kFirstToken);
  prometheus::Histogram& token_gap =
      histogram("vllm:inter_token_latency_seconds", "Between two tokens of an answer", kPerToken);
  prometheus::Histogram& per_token = histogram("vllm:request_time_per_output_token_seconds",
                                               "Mean time of a request's tokens after the first", kPerToken);
  prometheus::Histogram& whole =
      histogram("vllm:e2e_request_latency_seconds", "From the arrival to the last byte", kWhole);
  prometheus::Histogram& queue = histogram("vllm:request_queue_time_seconds", "Waiting for a place in a step", kWhole);
  prometheus::Histogram& inference =
      histogram("vllm:request_inference_time_seconds", "From the first step to the last token", kWhole);
  prometheus::Histogram& prefill =
      histogram("vllm:request_prefill_time_seconds", "From the first step to the first token", kWhole);
  prometheus::Histogram& decode =
      histogram("vllm:request_decode_time_seconds", "From the first to the last token", kWhole);
  prometheus::Histogram& prompt_tokens = histogram("vllm:request_prompt_tokens", "Of a request", tokens);
  prometheus::Histogram& generation_tokens = histogram("vllm:request_generation_tokens", "Of a request", tokens);
  prometheus::Histogram& max_tokens = histogram("vllm:request_params_max_tokens", "max_tokens of a request", tokens);
  prometheus::Histogram& computed =
      histogram("vllm:request_prefill_kv_computed_tokens", "Prompt tokens not found in the prefix cache", tokens);
  prometheus::Histogram& choices = histogram("vllm:request_params_n", "n of a request", kChoices);
  prometheus::Histogram& step_tokens = histogram("vllm:iteration_tokens_total", "Tokens of a step", kStepTokens);
  prometheus::Histogram& step_time = histogram("glimpse:step_seconds", "Duration of the engine's steps", kPerToken);
  std::array<prometheus::Histogram*, kNumSpans> spans = [this] {
    std::array<prometheus::Histogram*, kNumSpans> result{};
    for (int i = 0; i < kNumSpans; ++i) {
      result[static_cast<size_t>(i)] =
          &histogram("glimpse:span_seconds", "The latency account: time of each kind of span in a request", kSpan,
                     {{"span", std::string(span_name(static_cast<Span>(i)))}});
    }
    return result;
  }();
};

Metrics::Metrics(const std::string& model_name, int32_t max_model_len, const Clock& clock)
    : impl_(std::make_unique<Impl>(model_name, max_model_len, clock)) {
  for (const char* finish : {"stop", "length", "abort", "error"}) {
    impl_->counter("vllm:request_success_total", "Requests by how they ended", {{"finished_reason", finish}});
  }
}

Metrics::~Metrics() = default;

void Metrics::observe_request(const Request& request) {
  Impl& m = *impl_;
  const int64_t arrival_ns = request.account->arrival_ns();
  const auto seconds = [](int64_t ns) { return static_cast<double>(ns) / 1e9; };
  const LatencyAccount::Summary summary = request.account->summarize();
  const auto span = [&](Span which) -> const SpanSummary& { return summary.spans[static_cast<size_t>(which)]; };
  for (int i = 0; i < kNumSpans; ++i) {
    const SpanSummary& s = summary.spans[static_cast<size_t>(i)];
    if (s.count > 0) m.spans[static_cast<size_t>(i)]->Observe(seconds(s.duration_ns));
  }
  m.whole.Observe(seconds(request.end_ns - arrival_ns));
  m.queue.Observe(seconds(span(Span::kQueue).duration_ns));
  m.prompt_tokens.Observe(static_cast<double>(request.prompt_tokens));
  m.generation_tokens.Observe(static_cast<double>(request.completion_tokens));
  m.computed.Observe(static_cast<double>(request.prompt_tokens - request.cached_tokens));
  if (request.max_tokens > 0) m.max_tokens.Observe(static_cast<double>(request.max_tokens));
  m.choices.Observe(request.num_choices);
  if (request.first_token_ns == 0) return;
  const SpanSummary& prefill = span(Span::kPrefill);
  const int64_t scheduled_ns = prefill.count > 0 ? arrival_ns + prefill.start_ns : request.first_token_ns;
  m.prefill.Observe(seconds(request.first_token_ns - scheduled_ns));
  m.decode.Observe(seconds(request.end_ns - request.first_token_ns));
  m.inference.Observe(seconds(request.end_ns - scheduled_ns));
  if (request.completion_tokens > 1) {
    m.per_token.Observe(seconds(request.end_ns - request.first_token_ns) /
                        static_cast<double>(request.completion_tokens - 1));
  }
}

void Metrics::observe_first_token(double seconds) {
  impl_->first_token.Observe(seconds);
  impl_->first_tokens.add(seconds, impl_->clock.now_ns());
}

void Metrics::observe_token_gap(double seconds) {
  impl_->token_gap.Observe(seconds);
}

void Metrics::observe_step(int64_t num_tokens, double seconds) {
  impl_->step_tokens.Observe(static_cast<double>(num_tokens));
  impl_->step_time.Observe(seconds);
}

void Metrics::count_end(std::string_view finish) {
  const std::string reason = finish == "stop" || finish == "length" || finish == "abort" ? std::string(finish)
                             : finish == "cancelled"                                     ? "abort"
                                                                                         : "error";
  impl_->counter("vllm:request_success_total", "Requests by how they ended", {{"finished_reason", reason}}).Increment();
}

void Metrics::count_refusal(int status) {
  impl_
      ->counter("glimpse:requests_refused_total", "Requests answered with an error before the engine saw them",
                {{"status", std::to_string(status)}})
      .Increment();
}

void Metrics::count_follow_up() {
  impl_->counter("glimpse:follow_up_prefills_total", "Prefixes of following turns computed in advance").Increment();
}

void Metrics::count_http(std::string_view route, std::string_view method, int status, double seconds) {
  const std::string handler = route.empty() ? "none" : std::string(route);
  impl_
      ->counter("http_requests_total", "HTTP requests",
                {{"handler", handler},
                 {"method", method == "GET" || method == "POST" || method == "DELETE" ? std::string(method) : "other"},
                 {"status", std::to_string(status)}})
      .Increment();
  impl_->histogram("http_request_duration_seconds", "HTTP requests", kWhole, {{"handler", handler}}).Observe(seconds);
}

double Metrics::first_token_anomaly() const {
  return impl_->first_tokens.p95_ratio(impl_->clock.now_ns());
}

std::string Metrics::text(const Gauges& gauges) {
  Impl& m = *impl_;
  const EngineStats& e = gauges.engine;
  m.gauge("vllm:num_requests_running", "Requests that hold KV blocks", e.num_running);
  m.gauge("vllm:num_requests_waiting", "Requests in the queue", e.num_waiting);
  m.gauge("glimpse:num_drafts", "Drafts among them", e.num_drafts);
  m.gauge("vllm:kv_cache_usage_perc", "Share of KV blocks in use, 0 to 1",
          e.num_blocks > 0 ? static_cast<double>(e.num_blocks_used) / e.num_blocks : 0);
  m.gauge("glimpse:kv_blocks_cached", "Free KV blocks that still hold a prefix", e.num_blocks_cached);
  m.gauge("vllm:cache_config_info", "Constants of the KV cache", 1,
          {{"block_size", std::to_string(e.block_size)},
           {"num_gpu_blocks", std::to_string(e.num_blocks)},
           {"block_bytes", std::to_string(e.block_bytes)}});
  m.gauge("vllm:lora_requests_info", "LoRA is not supported", 0,
          {{"max_lora", "0"}, {"running_lora_adapters", ""}, {"waiting_lora_adapters", ""}});
  const auto follow = [&m](const std::string& name, const std::string& help, int64_t value) {
    m.follow(name, help, static_cast<double>(value));
  };
  follow("vllm:prefix_cache_queries_total", "Prompt tokens looked up", e.prefix_queries_tokens);
  follow("vllm:prefix_cache_hits_total", "Prompt tokens found", e.prefix_hits_tokens);
  follow("vllm:mm_cache_queries_total", "Pictures looked up in the vision cache", e.image_queries);
  follow("vllm:mm_cache_hits_total", "Pictures found", e.image_hits);
  follow("vllm:prompt_tokens_total", "Prompt tokens, cached ones included", e.prompt_tokens);
  follow("vllm:generation_tokens_total", "Tokens generated", e.generation_tokens);
  follow("vllm:num_preemptions_total", "Sequences that lost their blocks", e.preemptions);
  follow("glimpse:images_encoded_total", "Pictures through the vision tower", e.images_encoded);
  follow("glimpse:steps_total", "Engine steps", e.steps);
  follow("glimpse:images_prepared_total", "Pictures decoded and resized", gauges.pictures_prepared);
  follow("glimpse:images_reused_total", "Pictures that needed neither", gauges.picture_hits);
  follow("glimpse:trace_steps_lost_total", "Steps that traces and histograms missed", gauges.steps_lost);
  follow("glimpse:answer_cache_queries_total", "Answers looked up in the answer cache", gauges.answers.queries);
  follow("glimpse:answer_cache_hits_total", "Answers found", gauges.answers.hits);
  m.gauge("glimpse:answer_cache_bytes", "Memory of the answers kept", static_cast<double>(gauges.answers.bytes));
  m.gauge("glimpse:answer_cache_entries", "Answers kept", static_cast<double>(gauges.answers.count));
  m.gauge("glimpse:image_rows", "Capacity of the vision cache in tokens", static_cast<double>(e.image_rows));
  m.gauge("glimpse:image_rows_used", "Of those in use", static_cast<double>(e.image_rows_used));
  m.gauge("glimpse:image_host_bytes", "Embeddings kept in host memory", static_cast<double>(e.image_host_bytes));
  m.gauge("glimpse:connections", "Open connections", static_cast<double>(gauges.connections));
  m.gauge("glimpse:file_bytes", "Bytes of uploaded files", static_cast<double>(gauges.file_bytes));
  m.gauge("glimpse:file_count", "Uploaded files", static_cast<double>(gauges.file_count));
  m.gauge("glimpse:pictures_waiting", "Pictures that wait for a preparation thread or are on it",
          static_cast<double>(gauges.preparation_waiting));
  m.gauge("glimpse:draining", "1 while the server shuts down", gauges.draining ? 1 : 0);
  m.gauge("glimpse:first_token_anomaly", "p95 of the time to first token, last minute over last hour; 0: too few",
          first_token_anomaly());
  m.gauge("process_resident_memory_bytes", "Resident memory", static_cast<double>(resident_bytes()));
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const double cpu_s = static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  m.follow("process_cpu_seconds_total", "CPU time", cpu_s);
  return prometheus::TextSerializer().Serialize(m.registry.Collect());
}

}  // namespace glimpse
