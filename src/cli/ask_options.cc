#include "cli/ask_options.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "cli/progress_bar.h"

namespace glimpse {

namespace {

constexpr int32_t kDefaultMaxModelLen = 8192;

Quantization quantization_of(const std::string& name) {
  return name == "int8"   ? Quantization::kInt8
         : name == "int4" ? Quantization::kInt4
         : name == "fp8"  ? Quantization::kFp8
                          : Quantization::kNone;
}

int isa_of(const std::string& name) {
  if (name == "avx2") return static_cast<int>(CpuIsa::kAvx2);
  if (name == "avx512") return static_cast<int>(CpuIsa::kAvx512);
  if (name == "avx512_bf16") return static_cast<int>(CpuIsa::kAvx512Bf16);
  if (name == "amx") return static_cast<int>(CpuIsa::kAmx);
  return -1;
}

// ~/.cache/glimpse, or what XDG_CACHE_HOME says; empty when there is no home.
std::string default_cache_dir() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache == '/') {
    return std::string(cache) + "/glimpse";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home == '/' ? std::string(home) + "/.cache/glimpse" : std::string();
}

// bfloat16 where the checkpoint has 16-bit weights, float32 where it has 32-bit ones.
DType auto_dtype(const ModelSource& source) {
  const TensorInfo* tensor = source.weights->find("model.language_model.layers.0.self_attn.q_proj.weight");
  return tensor != nullptr && tensor->dtype == DType::kF32 ? DType::kF32 : DType::kBF16;
}

// An option that may be given several times, with one value each: what follows the value is not its own.
CLI::Option* repeatable(CLI::Option* option) {
  return option->allow_extra_args(false)->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

}  // namespace

void add_model_options(CLI::App& app, ModelOptions& options) {
  const std::string group = "Model";
  app.add_option("--model", options.model,
                 "Directory of a checkpoint as published, or its hub id if it is in the local hub cache "
                 "(default: glimpse-mini, built in)")
      ->group(group);
  app.add_option("--load-format", options.load_format, "auto, or dummy: random weights of the config's shapes")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--dtype", options.dtype, "Computation: auto takes the checkpoint's (fp16 becomes bfloat16)")
      ->check(CLI::IsMember({"auto", "bfloat16", "float32"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--quantization", options.quantization, "Of the text decoder's linear layers, made at load")
      ->check(CLI::IsMember({"none", "int8", "int4", "fp8"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--vision-quantization", options.vision_quantization, "The same for the vision tower")
      ->check(CLI::IsMember({"none", "int8", "int4", "fp8"}))
      ->capture_default_str()
      ->group(group);
  app.add_flag("--quantize-head", options.quantize_head,
               "The head (logits) in eight bits too: fp8 on a GPU; int8 on the CPU, which int8 and int4 do anyway")
      ->group(group);
  app.add_option("--cache-dir", options.cache_dir,
                 "Where quantised weights are kept for the next start: a folder, auto (~/.cache/glimpse) or none")
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-model-len", options.max_model_len,
                 "Longest context in tokens, answer included (default: the checkpoint's, at most 8192)")
      ->check(CLI::Range(1, 1 << 20))
      ->group(group);
  app.add_option("--max-num-batched-tokens", options.max_num_batched_tokens,
                 "Prompt tokens of one step (default: 512; 4096 on a GPU)")
      ->check(CLI::Range(1, 65536))
      ->group(group);
  app.add_option("--threads", options.threads, "CPU threads (default: one per core)")
      ->check(CLI::Range(1, 1024))
      ->group(group);
  app.add_option("--device", options.device, "Where the model runs; auto: the first GPU if there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--gpu-memory-utilization", options.gpu_memory_utilization,
                 "GPU: share of its memory to take in all; the KV cache gets what is left")
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  app.add_flag("--enforce-eager", options.enforce_eager, "GPU: enqueue every step anew instead of replaying graphs")
      ->group(group);
  app.add_option("--isa", options.isa, "Instruction set, to compare them")
      ->check(CLI::IsMember({"auto", "avx2", "avx512", "avx512_bf16", "amx"}))
      ->capture_default_str()
      ->group(group);
}

void add_ask_options(CLI::App& app, AskOptions& options) {
  app.add_option("question", options.question, "The question; - reads it from standard input");
  repeatable(app.add_option("-i,--image", options.images, "A picture: JPEG, PNG or WebP; may be repeated"));
  app.add_flag("--think", options.think, "Let the model think first; its thoughts go to standard error");
  app.add_option("--max-tokens", options.max_tokens, "Longest answer in tokens")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_flag("--json", options.json, "Print one JSON object: answer, reasoning, token ids, latency account");
  app.add_option("--dump-logits", options.dump_logits, "Write each step's logits to this safetensors file");
  app.add_option("--prompt-ids", options.prompt_ids_file,
                 "JSON array of token ids (image tokens expanded) instead of a question");
  app.add_option("--repeat", options.repeat, "Ask that many times in one process and print medians")
      ->check(CLI::Range(1, 100000));
  app.add_option("--batch", options.batch,
                 "Answer the questions of a JSON-lines file ({\"id\", \"images\", \"question\", \"think\"}), one JSON "
                 "line each; - reads standard input");

  const std::string group = "Sampling";
  SamplingParams& s = options.sampling;
  app.add_option_function<double>(
         "--temperature",
         [&options](double value) {
           options.sampling.temperature = static_cast<float>(value);
           options.temperature_given = true;
         },
         "0 always takes the likeliest token (default: the checkpoint's; 0 for glimpse-mini)")
      ->group(group);
  app.add_option("--top-k", s.top_k, "Keep the k likeliest tokens (default: all)")->group(group);
  app.add_option("--top-p", s.top_p, "Keep the likeliest tokens that together have this probability")->group(group);
  app.add_option("--min-p", s.min_p, "Keep tokens with this share of the likeliest one's probability")->group(group);
  app.add_option("--repetition-penalty", s.repetition_penalty, "Above 1: tokens seen before get less likely")
      ->group(group);
  app.add_option("--frequency-penalty", s.frequency_penalty, "Per earlier occurrence in the answer")->group(group);
  app.add_option("--presence-penalty", s.presence_penalty, "For tokens that are in the answer already")->group(group);
  repeatable(app.add_option("--logit-bias", options.logit_bias, "ID:BIAS, may be repeated"))->group(group);
  app.add_option("--seed", s.seed, "Makes sampling repeatable")->group(group);
  repeatable(app.add_option("--stop", s.stop, "End the answer before this text; may be repeated"))->group(group);
  repeatable(app.add_option("--stop-token-id", s.stop_token_ids, "End the answer at this token; may be repeated"))
      ->group(group);
  app.add_option("--min-tokens", s.min_tokens, "No end before that many tokens")->group(group);
  app.add_flag("--ignore-eos", options.ignore_eos, "Do not stop at the model's end tokens")->group(group);
  app.add_option("--logprobs", s.logprobs, "With --json: log-probabilities of that many likeliest tokens a step")
      ->group(group);
}

Result<SamplingParams> resolve_sampling(const AskOptions& options, const GenerationConfig& generation) {
  SamplingParams sampling = options.sampling;
  if (!options.temperature_given) {
    const bool samples = generation.do_sample.value_or(false);
    sampling.temperature = samples ? static_cast<float>(generation.temperature.value_or(1.0)) : 0.0f;
    if (samples) {
      const SamplingParams untouched;
      if (sampling.top_p == untouched.top_p && generation.top_p) sampling.top_p = static_cast<float>(*generation.top_p);
      if (sampling.top_k == untouched.top_k && generation.top_k)
        sampling.top_k = static_cast<int32_t>(*generation.top_k);
    }
  }
  for (const std::string& text : options.logit_bias) {
    const size_t colon = text.find(':');
    int32_t id = 0;
    float bias = 0;
    const char* begin = text.data();
    const char* end = begin + text.size();
    if (colon == std::string::npos || std::from_chars(begin, begin + colon, id).ptr != begin + colon ||
        std::from_chars(begin + colon + 1, end, bias).ptr != end) {
      return Error{ErrorCode::kInvalidArgument, "--logit-bias: \"" + text + "\" is not ID:BIAS"};
    }
    sampling.logit_bias.emplace_back(id, bias);
  }
  return sampling;
}

Result<std::unique_ptr<Backend>> make_backend(const ModelOptions& options) {
  const bool quantized = options.quantization == "int8" || options.vision_quantization != "none";
  if (options.device == "cuda") return make_cuda_backend({});
  if (options.device == "auto" && !quantized) {
    if (auto cuda = make_cuda_backend({})) return cuda;
  }
  return make_cpu_backend({.num_threads = options.threads, .isa = isa_of(options.isa)});
}

int32_t context_length(const ModelOptions& options, const ModelSource& source) {
  if (options.max_model_len > 0) return options.max_model_len;
  return std::min(static_cast<int32_t>(source.config.text.max_position_embeddings), kDefaultMaxModelLen);
}

Result<std::unique_ptr<Runner>> load_runner(std::unique_ptr<Backend> backend, const ModelSource& source,
                                            const ModelOptions& options,
                                            std::function<void(const LoadProgress&)> watcher) {
  const auto bar = std::make_shared<ProgressBar>();  // the vision tower is loaded later, with the first picture
  RunnerOptions runner;
  runner.dtype = options.dtype == "float32"    ? DType::kF32
                 : options.dtype == "bfloat16" ? DType::kBF16
                                               : auto_dtype(source);
  runner.quantization = quantization_of(options.quantization);
  runner.vision_quantization = quantization_of(options.vision_quantization);
  runner.quantize_head = options.quantize_head;
  const auto longest = static_cast<int32_t>(source.config.text.max_position_embeddings);
  if (options.max_model_len > longest) {
    return Error{ErrorCode::kInvalidArgument, "--max-model-len " + std::to_string(options.max_model_len) +
                                                  " is more than the checkpoint's " + std::to_string(longest)};
  }
  runner.max_model_len = context_length(options, source);
  // A GPU reads the weights once a step, in the time it computes about 300 tokens in; a processor soon computes longer.
  const int32_t usual_step = backend->shares_host_memory() ? 512 : 4096;
  runner.max_num_batched_tokens =
      std::min(options.max_num_batched_tokens > 0 ? options.max_num_batched_tokens : usual_step, runner.max_model_len);
  runner.max_num_seqs = options.max_num_seqs;
  runner.num_kv_tokens = options.num_kv_tokens;
  runner.num_image_rows = options.num_image_rows;
  if (options.cache_dir != "none") {
    runner.cache_dir = options.cache_dir == "auto" ? default_cache_dir() : options.cache_dir;
  }
  runner.cache_key = source.cache_key;
  runner.enforce_eager = options.enforce_eager;
  runner.gpu_memory_utilization = options.gpu_memory_utilization;
  runner.progress = [bar, watcher = std::move(watcher)](const LoadProgress& progress) {
    bar->update(progress);
    if (watcher) watcher(progress);
  };
  auto loaded = Runner::create(std::move(backend), source.config, source.weights, runner);
  bar->clear();
  if (loaded && options.gpu_memory_utilization > 0 && !(*loaded)->memory_plan().empty()) {
    std::fprintf(stderr, "glimpse: %s\n", (*loaded)->memory_plan().c_str());
  }
  if (loaded && !(*loaded)->cache_warning().empty()) {
    std::fprintf(stderr, "glimpse: warning: %s\n", (*loaded)->cache_warning().c_str());
  }
  return loaded;
}

}  // namespace glimpse
