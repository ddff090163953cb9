// Every row of the GPU table in one process, random weights of a config's shapes: decode at batch sizes, prefill, the
// vision tower. Times are medians of whole steps as the host sees them (upload, step, synchronisation); floors come
// from the bandwidth and the rate given on the command line, which scripts/bench_gpu.sh measures in the same run.
//
//   gpu_bench --config configs/glm-4.6v-flash --batch 1 --batch 8 --batch 64 --prompt 512 --vision 1932x1092

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <numeric>

#include "base/mmap.h"
#include "bench/engine/gpu_serving.h"
#include "engine/runner.h"
#include "model/tensors.h"
#include "weights/dummy.h"

namespace glimpse {
namespace {

struct Options {
  std::string config;
  std::string quantization = "none";
  bool quantize_head = false;
  std::vector<int> batches = {1, 8, 64};
  std::vector<int> prompts = {512};
  std::vector<std::string> pictures;
  int context = 512;
  int steps = 64;
  int runs = 7;
  bool eager = false;
  std::string beside;
  std::string request;
  int upload_gb = 0;
  double bandwidth = 2.99e12;
  double rate = 785e12;
};

using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  Bench(const Options& options, Runner& runner) : options_(options), runner_(runner) {
    const TextConfig& text = runner.config().text;
    layer_weights_ = static_cast<double>(text.num_hidden_layers * text.hidden_size) *
                     static_cast<double>(text.q_size() * 2 + text.kv_size() * 2 + 3 * text.intermediate_size);
    head_weights_ = static_cast<double>(text.hidden_size * text.vocab_size);
    kv_bytes_ = static_cast<double>(text.num_hidden_layers * 2 * text.kv_size() * 2);
  }

  // `count` tokens of each of `seqs` sequences, from `position` on, in one step.
  void step(int seqs, int position, int count) {
    batch_.entries.clear();
    ids_.assign(static_cast<size_t>(count), 0);
    at_.resize(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) {
      ids_[static_cast<size_t>(i)] = (position + i) * 7919 % 4000;
      at_[static_cast<size_t>(i)] = position + i;
    }
    const int needed = (position + count + runner_.block_size() - 1) / runner_.block_size();
    const int stride = runner_.num_blocks() / seqs;
    block_ids_.resize(static_cast<size_t>(seqs * stride));
    for (int s = 0; s < seqs; ++s) {
      for (int b = 0; b < needed; ++b) block_ids_[static_cast<size_t>(s * stride + b)] = s * stride + b;
      batch_.entries.push_back(
          {.token_ids = ids_,
           .positions = {at_, at_, at_},
           .num_computed = position,
           .block_ids = std::span(block_ids_).subspan(static_cast<size_t>(s * stride), static_cast<size_t>(needed)),
           .wants_logits = true});
    }
    runner_.enqueue(batch_);
    runner_.stream().synchronize();
  }

  void decode(int seqs) {
    for (int s = 0; s < 4; ++s) step(seqs, options_.context + s, 1);
    std::vector<double> times;
    for (int i = 0; i < options_.steps; ++i) {
      const auto start = Clock::now();
      step(seqs, options_.context + i, 1);
      times.push_back(ms_since(start));
    }
    const double weight = options_.quantization == "int4" ? 0.5 + 2.0 / 128 : options_.quantization == "fp8" ? 1 : 2;
    const double bytes = layer_weights_ * weight + head_bytes() + kv_bytes_ * options_.context * seqs;
    row(fmt::format("decode, batch {}, context {}", seqs, options_.context), median(times),
        bytes / options_.bandwidth * 1e3);
  }

  void prefill(int tokens) {
    std::vector<double> times;
    for (int i = 0; i <= options_.runs; ++i) {
      const auto start = Clock::now();
      step(1, 0, tokens);
      if (i > 0) times.push_back(ms_since(start));
    }
    row(fmt::format("prefill, {} tokens", tokens), median(times),
        2 * layer_weights_ * tokens / options_.rate * 1e3 + head_bytes() / options_.bandwidth * 1e3);
  }

  Status vision(const std::string& size) {
    int width = 0;
    int height = 0;
    if (std::sscanf(size.c_str(), "%dx%d", &width, &height) != 2) {
      return Error{ErrorCode::kInvalidArgument, "--vision " + size + " is not WIDTHxHEIGHT"};
    }
    const VisionConfig& vision = runner_.config().vision;
    const auto patch = static_cast<int>(vision.patch_size);
    const GridThw grid{1, height / patch, width / patch};
    ASSIGN_OR_RETURN(const DType dtype, runner_.prepare_vision());
    const size_t values = static_cast<size_t>(grid.num_patches() * 3 * patch * patch);
    ASSIGN_OR_RETURN(const Buffer pixels,
                     runner_.backend().allocate(values * dtype_bytes(dtype), MemoryKind::kPinnedHost));
    for (size_t i = 0; i < values; ++i) {
      pixels.as<bf16>()[i] = to_bf16(static_cast<float>(i * 2654435761u % 1000) / 500.0f - 1.0f);
    }
    std::vector<double> times;
    for (int i = 0; i <= options_.runs; ++i) {
      const auto start = Clock::now();
      RETURN_IF_ERROR(runner_.encode_image(pixels.data(), grid, 0));
      if (i > 0) times.push_back(ms_since(start));
    }
    const auto patches = static_cast<double>(grid.num_patches());
    const auto hidden = static_cast<double>(vision.hidden_size);
    const double block = hidden * hidden * 4 + 3 * hidden * static_cast<double>(vision.out_hidden_size);
    const double merger = static_cast<double>(vision.out_hidden_size) *
                          (4 * hidden + static_cast<double>(vision.out_hidden_size + 3 * vision.intermediate_size));
    const double flops = static_cast<double>(vision.depth) * (2 * block * patches + 4 * patches * patches * hidden) +
                         2 * merger * patches / 4;
    row(fmt::format("vision tower, {} ({} patches)", size, grid.num_patches()), median(times),
        flops / options_.rate * 1e3);
    return {};
  }

 private:
  double head_bytes() const { return head_weights_ * (options_.quantize_head ? 1 : 2); }

  static void row(const std::string& what, double ms, double floor) {
    fmt::print("| {} | {:.2f} ms | {:.2f} ms | {:.0f} % |\n", what, ms, floor, 100 * floor / ms);
    std::fflush(stdout);
  }

  const Options& options_;
  Runner& runner_;
  double layer_weights_ = 0;
  double head_weights_ = 0;
  double kv_bytes_ = 0;  // of one token
  Batch batch_;
  std::vector<int32_t> ids_, at_, block_ids_;
};

// What weights do at load: a mapped file's pages through Backend::fill, beside a plain copy from pinned memory.
Status upload(const Options& options, Backend& backend) {
  const size_t piece = size_t{64} << 20;
  const size_t bytes = static_cast<size_t>(options.upload_gb) << 30;
  ASSIGN_OR_RETURN(const Buffer device, backend.allocate(bytes, MemoryKind::kDevice));
  ASSIGN_OR_RETURN(const Buffer pinned, backend.allocate(piece, MemoryKind::kPinnedHost));
  const auto stream = backend.make_stream();
  double plain = 0;
  for (int run = 0; run < 2; ++run) {
    const auto start = Clock::now();
    for (size_t at = 0; at < bytes; at += piece) stream->copy(device.as<std::byte>() + at, pinned.data(), piece);
    stream->synchronize();
    plain = static_cast<double>(bytes) / ms_since(start) / 1e6;
  }
  const std::string path = "/tmp/gpu_bench_upload";
  {
    std::ofstream file(path, std::ios::binary);
    std::vector<char> fill(piece, 'x');
    for (size_t at = 0; at < bytes; at += piece) file.write(fill.data(), static_cast<std::streamsize>(piece));
  }
  ASSIGN_OR_RETURN(const MappedFile mapped, MappedFile::open(path));
  const std::byte* source = mapped.bytes().data();
  const size_t row = 8192;
  for (int run = 0; run < 2; ++run) {
    const auto start = Clock::now();
    backend.fill(device.data(), static_cast<int64_t>(bytes / row), row,
                 [&](int64_t first, int64_t count, std::byte* dst) {
                   std::memcpy(dst, source + static_cast<size_t>(first) * row, static_cast<size_t>(count) * row);
                 });
    const double rate = static_cast<double>(bytes) / ms_since(start) / 1e6;
    fmt::print("upload of a mapped file in memory, {} run: {:.1f} GB/s, {:.0f} % of a plain pinned copy's {:.1f}\n",
               run == 0 ? "first" : "second", rate, 100 * rate / plain, plain);
  }
  std::remove(path.c_str());
  return {};
}

Status run(const Options& options) {
  ASSIGN_OR_RETURN(const std::string text, read_file(options.config + "/config.json", 1 << 20));
  ASSIGN_OR_RETURN(const ModelConfig config, parse_model_config(text, options.config + "/config.json"));
  ASSIGN_OR_RETURN(auto backend, make_cuda_backend({}));
  if (options.upload_gb > 0) RETURN_IF_ERROR(upload(options, *backend));
  const auto source = std::make_shared<DummySource>(expected_tensors(config), 0);
  const int largest = *std::max_element(options.batches.begin(), options.batches.end());
  const int longest = options.prompts.empty() ? 512 : *std::max_element(options.prompts.begin(), options.prompts.end());
  const auto start = Clock::now();
  ASSIGN_OR_RETURN(const auto runner,
                   Runner::create(std::move(backend), config, source,
                                  {.quantization = options.quantization == "int4"  ? Quantization::kInt4
                                                   : options.quantization == "fp8" ? Quantization::kFp8
                                                                                   : Quantization::kNone,
                                   .quantize_head = options.quantize_head,
                                   .max_model_len = 8192,
                                   .max_num_batched_tokens = std::max({longest, largest, 64}),
                                   .max_num_seqs = largest,
                                   .num_kv_tokens = std::max<int64_t>(8192, int64_t{largest} * (options.context + 128)),
                                   .enforce_eager = options.eager,
                                   .num_image_rows = 32768}));
  fmt::print("{}: weights made, uploaded and warmed up in {:.1f} s\n\n", options.config, ms_since(start) / 1e3);
  fmt::print("| | time | floor | share |\n| --- | --- | --- | --- |\n");
  Bench bench(options, *runner);
  for (const int batch : options.batches) bench.decode(batch);
  for (const int prompt : options.prompts) bench.prefill(prompt);
  for (const std::string& size : options.pictures) RETURN_IF_ERROR(bench.vision(size));
  if (!options.beside.empty()) RETURN_IF_ERROR(bench_beside(*runner, options.beside));
  if (!options.request.empty()) RETURN_IF_ERROR(bench_request(*runner, options.config, options.request, options.runs));
  const auto memory = runner->backend().device_memory();
  fmt::print("\ndevice memory: {:.2f} of {:.2f} GB in use\n", static_cast<double>(memory.total - memory.free) / 1e9,
             static_cast<double>(memory.total) / 1e9);
  return {};
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  glimpse::Options options;
  CLI::App app{"Speed of a whole model on a GPU, random weights"};
  app.add_option("--config", options.config, "Folder with config.json")->required();
  app.add_option("--quantization", options.quantization)->check(CLI::IsMember({"none", "fp8", "int4"}));
  app.add_flag("--quantize-head", options.quantize_head, "The head in eight bits too");
  app.add_option("--batch", options.batches, "Decode batch sizes; may be repeated");
  app.add_option("--prompt", options.prompts, "Prompt lengths to prefill in one step; may be repeated");
  app.add_option("--vision", options.pictures, "WIDTHxHEIGHT of a picture after resizing; may be repeated");
  app.add_option("--context", options.context, "Tokens before a decode step");
  app.add_option("--steps", options.steps, "Decode steps");
  app.add_option("--runs", options.runs, "Prefill and vision runs");
  app.add_flag("--enforce-eager", options.eager, "No CUDA graphs");
  app.add_option("--beside", options.beside, "WIDTHxHEIGHT of pictures that 8 running answers are disturbed by");
  app.add_option("--request", options.request, "WIDTHxHEIGHT of a JPEG: from its bytes to the first token");
  app.add_option("--upload-gb", options.upload_gb, "Measure the upload of a file of that size");
  app.add_option("--bandwidth", options.bandwidth, "Bytes per second, for floors");
  app.add_option("--rate", options.rate, "FLOP per second, for floors");
  CLI11_PARSE(app, argc, argv);
  const auto status = glimpse::run(options);
  if (!status) {
    fmt::print(stderr, "gpu_bench: {}\n", status.error().message);
    return glimpse::exit_code(status.error().code);
  }
  return 0;
}
