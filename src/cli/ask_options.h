#pragma once

// The options of `glimpse ask`, and the model that they ask for.

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/model_source.h"
#include "engine/runner.h"
#include "sampling/params.h"

namespace glimpse {

struct ModelOptions {
  std::string model;
  std::string load_format = "auto";
  std::string dtype = "auto";
  std::string quantization = "none";
  std::string vision_quantization = "none";
  bool quantize_head = false;
  std::string cache_dir = "auto";
  int threads = 0;
  std::string isa = "auto";
  std::string device = "auto";
  bool enforce_eager = false;
  double gpu_memory_utilization = 0;   // 0: the KV cache of one context
  int32_t max_model_len = 0;           // 0: the checkpoint's, at most 8192
  int32_t max_num_batched_tokens = 0;  // of one step; 0: 512, on a GPU 4096
  // Not on `ask`'s command line: it runs one sequence.
  int32_t max_num_seqs = 1;
  int64_t num_kv_tokens = 0;   // of all sequences together; 0: max_model_len
  int64_t num_image_rows = 0;  // image embeddings kept on the device; 0: max_model_len
};

struct AskOptions {
  ModelOptions model;
  std::vector<std::string> images;
  std::string question;
  std::string prompt_ids_file;
  bool think = false;
  int32_t max_tokens = 1024;
  bool ignore_eos = false;
  SamplingParams sampling;
  bool temperature_given = false;
  std::vector<std::string> logit_bias;  // "ID:BIAS"
  bool json = false;
  std::string dump_logits;
  int repeat = 1;
  std::string batch;
};

void add_model_options(CLI::App& app, ModelOptions& options);
void add_ask_options(CLI::App& app, AskOptions& options);

// Sampling of a question: the command line's, and where that is silent the checkpoint's generation_config.json.
Result<SamplingParams> resolve_sampling(const AskOptions& options, const GenerationConfig& generation);

// The back end that the options name. auto: CUDA where there is a device and it runs the quantisation, else the CPU.
// Errors: make_cuda_backend's and make_cpu_backend's.
Result<std::unique_ptr<Backend>> make_backend(const ModelOptions& options);

// Tokens of a sequence's context: what the options say, else the checkpoint's, at most 8192.
int32_t context_length(const ModelOptions& options, const ModelSource& source);

// Packs the weights for `backend`, with a progress bar; `watcher` (may be empty) sees what it shows, also when the
// vision tower is loaded later, with the first picture. Errors: the checkpoint's and the machine's.
Result<std::unique_ptr<Runner>> load_runner(std::unique_ptr<Backend> backend, const ModelSource& source,
                                            const ModelOptions& options,
                                            std::function<void(const LoadProgress&)> watcher = {});

}  // namespace glimpse
