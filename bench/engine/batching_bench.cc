// Many streams at once through the engine, in process: time of a decode step and tokens a second by number of streams,
// beside the machine's floor, measured in the same run; and the pace of running streams while a picture is encoded.
//
//   batching_bench                                                   glimpse-mini
//   batching_bench --config configs/dummy-1.75b --streams 1 2 64
//   batching_bench --config configs/GLM-4.6V-Flash --quantization int4 --streams 1 64
//   batching_bench --config configs/dummy-1.75b --streams 2 --vision 1120x1120 --seconds 40
//
// --busy: one thread and its processor time, for a machine that others use too.

#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>

#include "base/mmap.h"
#include "bench/support/bandwidth.h"
#include "bench/support/compute_peak.h"
#include "bundle/model_source.h"
#include "engine/batching_engine.h"
#include "engine/host_step_runner.h"
#include "model/tensors.h"
#include "weights/dummy.h"

namespace glimpse {
namespace {

struct Options {
  std::string config;  // empty: glimpse-mini
  std::string quantization = "none";
  std::vector<int> streams = {1, 2, 4, 8, 16, 32, 64};
  int prompt = 32;
  int decode = 24;
  int rounds = 1;
  int threads = 0;
  int isa = -1;
  bool busy = false;
  std::string vision;
  double seconds = 30;  // of the picture's encoding to look at
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

// Times of steps, by what was in them.
class StepTimes final : public EngineObserver {
 public:
  explicit StepTimes(bool busy) : busy_(busy) {}
  void on_step(const StepRecord& step) override {
    const std::lock_guard lock(mutex_);
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    const double now = static_cast<double>(time.tv_sec) * 1e3 + static_cast<double>(time.tv_nsec) / 1e6;
    const double used = now - std::exchange(last_, now);
    const bool decodes_only = step.num_prefill_tokens == 0 && step.num_decode_tokens > 0;
    const double ms = busy_ ? used : static_cast<double>(step.end_ns - step.begin_ns) / 1e6;
    if (decodes_only) (step.num_vision_stages > 0 ? with_vision : alone)[step.num_decode_tokens].push_back(ms);
  }
  void clear() {
    const std::lock_guard lock(mutex_);
    alone.clear();
    with_vision.clear();
  }
  std::map<int, std::vector<double>> alone, with_vision;

 private:
  const bool busy_;
  double last_ = 0;
  std::mutex mutex_;
};

class Bench {
 public:
  Bench(const Options& options, BatchingEngine& engine, StepTimes& times, const ModelConfig& config)
      : options_(options), engine_(engine), times_(times), config_(config) {}

  // So many streams of different prompts, each to its end.
  void start(int streams, int decode) {
    left_ = streams;
    for (int s = 0; s < streams; ++s) {
      std::vector<int32_t> ids;
      for (int i = 0; i < options_.prompt; ++i) {
        ids.push_back(
            static_cast<int32_t>((++prompt_seed_ * 7919 + i * 31) % std::min<int64_t>(4000, config_.text.vocab_size)));
      }
      EngineRequest request;
      request.prompt = *make_prompt(config_, ids, {});
      request.sampling.temperature = 0;
      request.max_tokens = decode;
      request.arrival_ns = clock_.now_ns();
      request.on_event = [this](const EngineEvent& event) {
        if (!event.finish) return;
        const std::lock_guard lock(mutex_);
        --left_;
        changed_.notify_all();
      };
      ids_.push_back(*engine_.submit(std::move(request)));
    }
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return left_ == 0; });
    ids_.clear();
  }
  void cancel() {
    for (const uint64_t id : ids_) engine_.cancel(id);
    wait();
  }

  // kv_bytes: of one token.
  void batching(double weight_bytes, double kv_bytes, double flops_per_token, double peak) {
    double one = 0;
    BandwidthMeter meter(std::max(1, options_.threads), size_t{256} << 20);
    const auto read = [&] { return options_.busy ? meter.read_busy() : meter.read(); };
    const double context = options_.prompt + options_.decode / 2.0;  // of the median step
    fmt::print("{:>7} {:>9} {:>9} {:>10} {:>8} {:>8}  floor: {:.2f} MB a step, {:.2f} MB and {:.2f} MFLOP a token\n",
               "streams", "ms/step", "p95", "tokens/s", "x 1", "of floor", weight_bytes / 1e6, kv_bytes * context / 1e6,
               flops_per_token / 1e6);
    for (const int streams : options_.streams) {
      times_.clear();
      const double before = read();
      for (int round = 0; round < options_.rounds; ++round) {
        start(streams, options_.decode);
        wait();
      }
      const double bandwidth = (before + read()) / 2;
      const std::vector<double>& steps = times_.alone[streams];
      if (steps.empty()) {  // the first answers were over before the last prompt was read
        fmt::print("{:>7}  no step decoded all of them: --decode {} is too short\n", streams, options_.decode);
        continue;
      }
      const double ms = median(steps);
      if (one == 0) one = ms;
      const double bytes = weight_bytes + streams * kv_bytes * context;
      const double floor = std::max(bytes / bandwidth, streams * flops_per_token / peak) * 1e3;
      fmt::print("{:>7} {:>9.2f} {:>9.2f} {:>10.1f} {:>7.2f}x {:>7.0f}%  {} steps, {:.1f} GB/s\n", streams, ms,
                 percentile(steps, 0.95), streams / ms * 1e3, streams * one / ms, 100 * floor / ms, steps.size(),
                 bandwidth / 1e9);
      std::fflush(stdout);
    }
  }

  Status vision() {
    int width = 0;
    int height = 0;
    if (std::sscanf(options_.vision.c_str(), "%dx%d", &width, &height) != 2) {
      return Error{ErrorCode::kInvalidArgument, "--vision " + options_.vision + " is not WIDTHxHEIGHT"};
    }
    ASSIGN_OR_RETURN(const DType dtype, engine_.prepare_vision());
    const auto patch = static_cast<int>(config_.vision.patch_size);
    const GridThw grid{1, height / patch, width / patch};
    const size_t bytes = static_cast<size_t>(grid.num_patches() * 3 * patch * patch) * dtype_bytes(dtype);
    auto pixels = std::make_shared<std::vector<std::byte>>(bytes);
    for (const int streams : options_.streams) {
      times_.clear();
      start(streams, 1'000'000);
      const auto pause = [](double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); };
      pause(options_.seconds / 4);
      bool encoded = false;
      ImageKey key;
      key.sha256[0] = static_cast<uint8_t>(streams);
      const int64_t begin = clock_.now_ns();
      ASSIGN_OR_RETURN(ImageRef image,
                       engine_.add_image(key, grid, {std::shared_ptr<const std::byte>(pixels, pixels->data()), bytes},
                                         Priority::kInteractive, {}));
      while (!(encoded = image->encoded()) && static_cast<double>(clock_.now_ns() - begin) < options_.seconds * 1e9) {
        pause(0.05);
      }
      const double seconds = static_cast<double>(clock_.now_ns() - begin) / 1e9;
      double busy = 0;
      for (const SpanRecord& span : image->spans()) busy += static_cast<double>(span.end_ns - span.begin_ns) / 1e9;
      image.reset();
      cancel();
      const double usual = median(times_.alone[streams]);
      const std::vector<double>& during = times_.with_vision[streams];
      fmt::print(
          "{} streams, picture {}: usual step {:.2f} ms; during vision median {:.2f} ({:.2f}x), p95 {:.2f} ({:.2f}x), "
          "max "
          "{:.2f} ({:.2f}x) of {} steps; {} {:.1f} s, of which the tower had {:.1f}\n",
          streams, options_.vision, usual, median(during), median(during) / usual, percentile(during, 0.95),
          percentile(during, 0.95) / usual, percentile(during, 1), percentile(during, 1) / usual, during.size(),
          encoded ? "encoded in" : "not done after", seconds, busy);
    }
    return {};
  }

 private:
  const Options& options_;
  BatchingEngine& engine_;
  StepTimes& times_;
  const ModelConfig& config_;
  SteadyClock clock_;
  int64_t prompt_seed_ = 0;
  std::vector<uint64_t> ids_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int left_ = 0;
};

Status run(Options options) {
  if (options.busy) options.threads = 1;
  ModelConfig config;
  std::shared_ptr<const WeightSource> weights;
  if (options.config.empty()) {
    ASSIGN_OR_RETURN(ModelSource source, open_model("", LoadFormat::kAuto));
    config = source.config;
    weights = source.weights;
  } else {
    ASSIGN_OR_RETURN(const std::string text, read_file(options.config + "/config.json", 1 << 20));
    ASSIGN_OR_RETURN(config, parse_model_config(text, options.config + "/config.json"));
    weights = std::make_shared<DummySource>(expected_tensors(config), 0);
  }
  const Quantization quantization = options.quantization == "int8"   ? Quantization::kInt8
                                    : options.quantization == "int4" ? Quantization::kInt4
                                                                     : Quantization::kNone;
  ASSIGN_OR_RETURN(auto backend, make_cpu_backend({.num_threads = options.threads, .isa = options.isa}));
  options.threads = backend->num_host_threads();
  const int most = *std::max_element(options.streams.begin(), options.streams.end());
  const int longest = options.vision.empty() ? options.prompt + options.decode : 4096;
  ASSIGN_OR_RETURN(const auto runner, Runner::create(std::move(backend), config, weights,
                                                     {.dtype = DType::kBF16,
                                                      .quantization = quantization,
                                                      .max_model_len = std::max(longest, 2048),
                                                      .max_num_batched_tokens = std::max(512, most),
                                                      .max_num_seqs = most,
                                                      .num_kv_tokens = int64_t{most} * (longest + 64)}));
  const SteadyClock clock;
  HostStepRunner steps(*runner, clock);
  RETURN_IF_ERROR(warm_up(steps, false));
  StepTimes times(options.busy);
  BatchingEngineOptions engine_options{.model_key = "bench"};
  // All prompts first, or short answers end before the last stream has begun.
  if (options.vision.empty()) engine_options.loop.pacer.slack.fill(1e6);
  BatchingEngine engine(steps, clock, engine_options, &times);
  Bench bench(options, engine, times, config);
  if (!options.vision.empty()) return bench.vision();

  const bool tiles = options.isa < 0 || options.isa >= static_cast<int>(CpuIsa::kAmx);
  const ComputePeak peak = (tiles ? measure_compute_peak : measure_vector_peak)(options.threads, options.busy);
  const TextConfig& text = config.text;
  const auto layer =
      static_cast<double>(text.hidden_size * (text.q_size() * 2 + text.kv_size() * 2 + 3 * text.intermediate_size));
  const auto head = static_cast<double>(text.hidden_size * text.vocab_size);
  const auto group = static_cast<double>(quantization_group(text.hidden_size));
  const bool quantized = quantization != Quantization::kNone;
  const double weight = quantization == Quantization::kInt4 ? 0.5 + 2 / group : quantized ? 1 : 2;
  const double layers = layer * static_cast<double>(text.num_hidden_layers);
  fmt::print("{} {}, {} threads, bf16 peak {:.0f} GFLOP/s, int8 {:.0f} GOP/s\n",
             options.config.empty() ? "glimpse-mini" : options.config, options.quantization, options.threads,
             peak.bf16 / 1e9, peak.int8 / 1e9);
  const auto kv_bytes = static_cast<double>(4 * text.num_hidden_layers * text.kv_size());
  bench.batching(layers * weight + head * (quantized ? 1 : 2), kv_bytes, 2 * (layers + head),
                 quantized ? peak.int8 : peak.bf16);
  return {};
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  glimpse::Options options;
  CLI::App app{"Continuous batching in process"};
  app.add_option("--config", options.config, "Folder with config.json: random weights; without: glimpse-mini");
  app.add_option("--quantization", options.quantization)->check(CLI::IsMember({"none", "int8", "int4"}));
  app.add_option("--streams", options.streams, "Numbers of streams");
  app.add_option("--prompt", options.prompt, "Tokens of each prompt");
  app.add_option("--decode", options.decode, "Tokens of each answer");
  app.add_option("--rounds", options.rounds, "Times that each number of streams runs");
  app.add_option("--threads", options.threads);
  app.add_option("--isa", options.isa, "0: AVX2, 1: AVX-512, 2: with BF16, 3: AMX; default: the best");
  app.add_flag("--busy", options.busy, "One thread, by its processor time");
  app.add_option("--vision", options.vision, "WIDTHxHEIGHT: the pace of the streams while such a picture is encoded");
  app.add_option("--seconds", options.seconds, "How much of its encoding to look at");
  CLI11_PARSE(app, argc, argv);
  const auto status = glimpse::run(options);
  if (!status) {
    fmt::print(stderr, "batching_bench: {}\n", status.error().message);
    return glimpse::exit_code(status.error().code);
  }
  return 0;
}
