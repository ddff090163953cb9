#pragma once

// The options of `glimpse serve`: vLLM's names where vLLM has one.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/model.h"
#include "cli/ask_options.h"
#include "server/options.h"

namespace glimpse {

struct ServeOptions {
  ModelOptions model;
  std::string model_argument;  // `glimpse serve MODEL`
  std::string dtype = "auto";  // vLLM's spellings
  std::string quantization;
  std::string max_model_len;  // "25480", "8k", "auto"
  int32_t max_num_seqs = 64;
  int64_t kv_cache_memory_bytes = 0;  // 0: chosen
  ServerOptions server;
  std::vector<std::string> served_names;
  std::string api_key_file;
  std::string config_file;                       // its flags have become arguments (config_file.h)
  std::vector<std::string> limit_mm_per_prompt;  // '{"image":10}' or image=10
  std::string mm_processor_kwargs;
  std::optional<double> mm_processor_cache_gb;  // picture embeddings in host memory, beside those on the device
  std::string chat_template;
  std::string content_format = "auto";
  std::string default_template_kwargs;
  std::string generation_config = "auto";
  std::string reasoning_format = "auto";
  int64_t answer_cache_bytes = 0;
  std::vector<std::string> allowed_origins;
  std::vector<std::string> allowed_domains;
  double file_store_mib = 512;
  double max_body_mib = 128;
  double drain_timeout_s = 30;
  double request_timeout_s = 0;
  std::string log_format = "text";
  std::string log_level = "info";
  bool access_log = true;
  bool preload_vision = true;

  std::vector<std::string> warnings;  // sentences about flags that do something else here, or nothing
  std::vector<std::string> refusals;  // sentences about flags that cannot be honoured
};

void add_serve_options(CLI::App& app, ServeOptions& options);
// vLLM's flags that mean nothing here: accepted, with a warning where somebody might count on them, or refused where
// going on without would give something else than was asked for.
void add_compatibility_flags(CLI::App& app, ServeOptions& options);

// What remains to be read from texts. Errors: kInvalidArgument naming the flag.
Status complete(ServeOptions& options);
// The API's part; `source` is changed where flags say other bounds of pictures, or another template.
Result<ApiModelOptions> resolve_api(const ServeOptions& options, int32_t max_model_len, ModelSource& source);

// Of `given` ("--max-model-length"), the option of `app` that it may have meant; empty if none is near.
std::string nearest_option(const CLI::App& app, const std::string& given);
// Command line arguments with "--max_model_len" spelled "--max-model-len" and "-tp" in full, as vLLM allows; values
// stay as they are.
std::vector<std::string> with_dashes(int argc, const char* const* argv);

}  // namespace glimpse
