// Prefill, decode and vision of a whole model in process, random weights of a config's shapes. Each decode sample lies
// between two readings of the memory bandwidth; its share is of their mean, and a sample whose readings differ by more
// than 10 % is not counted.
//
//   model_bench --config configs/glm-4.6v-flash --quantization int4 --prompt 512 --samples 9
//   model_bench --config configs/glm-4.6v-flash --vision 560x560 --vision 1120x1120

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <fstream>
#include <numeric>

#include "base/mmap.h"
#include "bench/support/bandwidth.h"
#include "engine/generator.h"
#include "engine/runner.h"
#include "model/tensors.h"
#include "weights/dummy.h"

namespace glimpse {
namespace {

struct Options {
  std::string config;
  std::string quantization = "none";
  std::string vision_quantization = "none";
  std::string dtype = "bfloat16";
  int prompt = 512;
  int decode = 8;  // steps a sample
  int samples = 9;
  int prefills = 3;
  int threads = 0;
  int isa = -1;
  int chunk = 512;
  std::vector<std::string> vision;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

Quantization quantization_of(const std::string& name) {
  return name == "int8" ? Quantization::kInt8 : name == "int4" ? Quantization::kInt4 : Quantization::kNone;
}

// Peak resident set of this process, file pages included.
std::string peak_memory() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM", 0) == 0) return line;
  }
  return "VmHWM unknown";
}

class Bench {
 public:
  Bench(const Options& options, Runner& runner) : options_(options), runner_(runner) {
    blocks_.resize(static_cast<size_t>(runner.num_blocks()));
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  // Runs `count` tokens from `position` on; as many steps as their chunks need.
  void run_tokens(int position, int count) {
    for (int done = 0; done < count;) {
      const int now = std::min(count - done, options_.chunk);
      std::vector<int32_t> ids(static_cast<size_t>(now));
      std::vector<int32_t> at(static_cast<size_t>(now));
      for (int i = 0; i < now; ++i) {
        ids[static_cast<size_t>(i)] = static_cast<int32_t>((position + done + i) * 7919 % 4000);
        at[static_cast<size_t>(i)] = position + done + i;
      }
      Batch batch;
      batch.entries.push_back({.token_ids = ids,
                               .positions = {at, at, at},
                               .num_computed = position + done,
                               .block_ids = std::span(blocks_).first(static_cast<size_t>(
                                   (position + done + now + runner_.block_size() - 1) / runner_.block_size())),
                               .wants_logits = true});
      runner_.run(batch);
      done += now;
    }
  }

  void prefill() {
    std::vector<double> times;
    for (int i = 0; i <= options_.prefills; ++i) {
      const auto start = std::chrono::steady_clock::now();
      run_tokens(0, options_.prompt);
      if (i > 0) times.push_back(seconds_since(start));  // the first warms up
    }
    const double time = median(times);
    fmt::print("prefill {} tokens: median {:.1f} ms, {:.1f} tokens/s (best {:.1f} ms, {} runs)\n", options_.prompt,
               time * 1e3, options_.prompt / time, *std::min_element(times.begin(), times.end()) * 1e3,
               options_.prefills);
  }

  void decode(double bytes_per_token) {
    BandwidthMeter meter(options_.threads > 0 ? options_.threads : 2);
    run_tokens(0, options_.prompt);
    run_tokens(options_.prompt, 1);
    std::vector<double> shares;
    std::vector<double> times;
    int rejected = 0;
    double before = meter.read();
    while (static_cast<int>(shares.size()) < options_.samples && rejected < 5 * options_.samples) {
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < options_.decode; ++i) run_tokens(options_.prompt + i, 1);
      const double step = seconds_since(start) / options_.decode;
      const double after = meter.read();
      if (std::fabs(after - before) < 0.1 * std::max(before, after)) {
        const double bandwidth = (before + after) / 2;
        shares.push_back(bytes_per_token / step / bandwidth);
        times.push_back(step);
        fmt::print("  decode {:.2f} ms/token, {:.1f} GB/s of {:.1f}: {:.1f} %\n", step * 1e3,
                   bytes_per_token / step / 1e9, bandwidth / 1e9, 100 * shares.back());
      } else {
        ++rejected;
      }
      before = after;
    }
    if (shares.empty()) return;
    fmt::print(
        "decode at context {}: median {:.2f} ms/token ({:.2f} tokens/s), median share of read bandwidth {:.1f} % "
        "({} samples, {} rejected; {:.3f} GB a token)\n",
        options_.prompt, median(times) * 1e3, 1 / median(times), 100 * median(shares), shares.size(), rejected,
        bytes_per_token / 1e9);
  }

  Status vision(const std::string& size) {
    int width = 0;
    int height = 0;
    if (std::sscanf(size.c_str(), "%dx%d", &width, &height) != 2) {
      return Error{ErrorCode::kInvalidArgument, "--vision " + size + " is not WIDTHxHEIGHT"};
    }
    const auto patch = static_cast<int>(runner_.config().vision.patch_size);
    const GridThw grid{1, height / patch, width / patch};
    ASSIGN_OR_RETURN(const DType dtype, runner_.prepare_vision());
    const size_t values = static_cast<size_t>(grid.num_patches() * 3 * patch * patch);
    std::vector<std::byte> pixels(values * dtype_bytes(dtype));
    for (size_t i = 0; i < values; ++i) {
      const float value = static_cast<float>(i * 2654435761u % 1000) / 500.0f - 1.0f;
      if (dtype == DType::kF32) {
        reinterpret_cast<float*>(pixels.data())[i] = value;
      } else {
        reinterpret_cast<bf16*>(pixels.data())[i] = to_bf16(value);
      }
    }
    std::vector<double> times;
    for (int i = 0; i < options_.prefills; ++i) {
      const auto start = std::chrono::steady_clock::now();
      RETURN_IF_ERROR(runner_.encode_image(pixels.data(), grid, 0));
      times.push_back(seconds_since(start));
    }
    fmt::print("vision {} ({} patches): median {:.3f} s, best {:.3f} s of {}\n", size, grid.num_patches(),
               median(times), *std::min_element(times.begin(), times.end()), times.size());
    return {};
  }

 private:
  const Options& options_;
  Runner& runner_;
  std::vector<int32_t> blocks_;
};

// What one token's step reads: every packed weight once, and the visible KV.
double bytes_per_token(const Options& options, const TextConfig& text) {
  const double layer = static_cast<double>(text.hidden_size) *
                       static_cast<double>(text.q_size() * 2 + text.kv_size() * 2 + 3 * text.intermediate_size);
  const double head = static_cast<double>(text.hidden_size * text.vocab_size);
  const double plain = options.dtype == "float32" ? 4 : 2;
  const double group = static_cast<double>(quantization_group(text.hidden_size));
  const double weight = options.quantization == "int4" ? 0.5 + 2 / group : options.quantization == "int8" ? 1 : plain;
  const double head_weight = options.quantization == "none" ? plain : 1;
  const double kv = static_cast<double>(options.prompt * text.num_hidden_layers * 2 * text.kv_size()) * plain;
  return layer * static_cast<double>(text.num_hidden_layers) * weight + head * head_weight + kv;
}

Status run(const Options& options) {
  ASSIGN_OR_RETURN(const std::string text, read_file(options.config + "/config.json", 1 << 20));
  ASSIGN_OR_RETURN(const ModelConfig config, parse_model_config(text, options.config + "/config.json"));
  ASSIGN_OR_RETURN(auto backend, make_cpu_backend({.num_threads = options.threads, .isa = options.isa}));
  const auto source = std::make_shared<DummySource>(expected_tensors(config), 0);
  const auto start = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(const auto runner,
                   Runner::create(std::move(backend), config, source,
                                  {.dtype = options.dtype == "float32" ? DType::kF32 : DType::kBF16,
                                   .quantization = quantization_of(options.quantization),
                                   .vision_quantization = quantization_of(options.vision_quantization),
                                   .max_model_len = std::max(4096, options.prompt + options.decode + 1),
                                   .max_num_batched_tokens = options.chunk}));
  fmt::print("{}: text weights made and packed in {:.1f} s; {}\n", options.config, seconds_since(start), peak_memory());
  Bench bench(options, *runner);
  for (const std::string& size : options.vision) RETURN_IF_ERROR(bench.vision(size));
  if (options.prompt > 0) {
    bench.prefill();
    if (options.samples > 0) bench.decode(bytes_per_token(options, config.text));
  }
  fmt::print("{}\n", peak_memory());
  return {};
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  glimpse::Options options;
  CLI::App app{"Speed of a whole model in process, random weights"};
  app.add_option("--config", options.config, "Folder with config.json")->required();
  app.add_option("--quantization", options.quantization)->check(CLI::IsMember({"none", "int8", "int4"}));
  app.add_option("--vision-quantization", options.vision_quantization)->check(CLI::IsMember({"none", "int8", "int4"}));
  app.add_option("--dtype", options.dtype)->check(CLI::IsMember({"bfloat16", "float32"}));
  app.add_option("--prompt", options.prompt, "Tokens to prefill; 0: no text");
  app.add_option("--decode", options.decode, "Steps of one decode sample");
  app.add_option("--samples", options.samples, "Decode samples; 0: no decoding");
  app.add_option("--prefills", options.prefills, "Prefill and vision runs");
  app.add_option("--threads", options.threads);
  app.add_option("--isa", options.isa, "0: AVX2, 1: AVX-512, 2: with BF16, 3: AMX; default: the best");
  app.add_option("--chunk", options.chunk, "Tokens of one prefill step");
  app.add_option("--vision", options.vision, "WIDTHxHEIGHT of a picture after resizing; may be repeated");
  CLI11_PARSE(app, argc, argv);
  const auto status = glimpse::run(options);
  if (!status) {
    fmt::print(stderr, "model_bench: {}\n", status.error().message);
    return glimpse::exit_code(status.error().code);
  }
  return 0;
}
