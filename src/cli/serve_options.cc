#include "cli/serve_options.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <sstream>

#include "base/mmap.h"

namespace glimpse {

namespace {

Error bad_flag(const std::string& flag, const std::string& why) {
  return {ErrorCode::kInvalidArgument, flag + ": " + why};
}

// "25480", "8k" (8000), "8K" (8192), "1M"; "auto" is 0.
Result<int64_t> parse_count(const std::string& flag, const std::string& text) {
  if (text.empty() || text == "auto") return int64_t{0};
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, failed] = std::from_chars(text.data(), end, value);
  const std::string unit(rest, end);
  const double scale = unit.empty()  ? 1
                       : unit == "k" ? 1e3
                       : unit == "K" ? 1024
                       : unit == "m" ? 1e6
                       : unit == "M" ? 1024.0 * 1024
                                     : 0;
  if (failed != std::errc() || scale == 0 || value * scale < 1 || value * scale > 1 << 24) {
    return bad_flag(flag, "\"" + text + "\" is not a number of tokens");
  }
  return static_cast<int64_t>(value * scale);
}

Result<json::object> parse_object(const std::string& flag, const std::string& text) {
  if (text.empty()) return json::object{};
  auto value = parse_json(text);
  if (!value) return bad_flag(flag, value.error().message);
  if (!value->is_object()) return bad_flag(flag, "has to be a JSON object");
  return value->get_object();
}

// Several values, or one JSON list.
Result<std::vector<std::string>> list_of(const std::string& flag, const std::vector<std::string>& given) {
  if (given.size() != 1 || !given[0].starts_with('[')) return given;
  auto value = parse_json(given[0]);
  if (!value || !value->is_array()) return bad_flag(flag, "is not a JSON list");
  std::vector<std::string> items;
  for (const json::value& item : value->get_array()) {
    if (!item.is_string()) return bad_flag(flag, "has to be a list of strings");
    items.emplace_back(item.get_string());
  }
  return items;
}

// CLI11's own prints the largest double.
const CLI::Validator kNotNegative(
    [](std::string& text) -> std::string {
      double value = 0;
      if (!CLI::detail::lexical_cast(text, value) || !std::isfinite(value)) return text + " is not a number";
      return value < 0 ? text + " is negative" : "";
    },
    "NONNEGATIVE");

void add_server_flags(CLI::App& app, ServeOptions& o) {
  const std::string group = "Server";
  app.add_option("--host", o.server.host, "Address to listen on; 0.0.0.0 lets other machines in")
      ->capture_default_str()
      ->group(group);
  app.add_option("--config", o.config_file,
                 "YAML file with any of these flags as keys (\"max-model-len: 8k\"); the command line wins")
      ->group(group);
  app.add_option("--port", o.server.port, "Port; 0 takes a free one")->capture_default_str()->group(group);
  app.add_option("--uds", o.server.unix_socket, "Unix socket instead of host and port")->group(group);
  app.add_option("--root-path", o.server.root_path, "Prefix of paths that a proxy leaves on")->group(group);
  app.add_option("--api-key", o.server.api_keys, "Keys that clients have to send; also GLIMPSE_API_KEY")->group(group);
  app.add_option("--api-key-file", o.api_key_file, "File with one key a line")->group(group);
  app.add_option("--ssl-certfile", o.server.tls_certificate, "Certificate chain, PEM")->group(group);
  app.add_option("--ssl-keyfile", o.server.tls_key, "Its private key, PEM")->group(group);
  app.add_option("--ssl-ca-certs", o.server.tls_client_ca, "Demand client certificates signed by these")->group(group);
  app.add_option("--allowed-origins", o.allowed_origins, "CORS: origins of other sites' pages, or *")->group(group);
  app.add_option("--allowed-methods", o.server.cors.methods, "CORS")->capture_default_str()->group(group);
  app.add_option("--allowed-headers", o.server.cors.headers, "CORS")->capture_default_str()->group(group);
  app.add_flag("--allow-credentials", o.server.cors.allow_credentials, "CORS")->group(group);
  app.add_option("--rate-limit", o.server.rate_limit_per_minute,
                 "Requests a minute for each API key, or address without keys; 0: any number")
      ->check(kNotNegative)
      ->group(group);
  app.add_option("--rate-limit-burst", o.server.rate_limit_burst, "Of those at once (default: a tenth)")
      ->check(kNotNegative)
      ->group(group);
  app.add_option("--max-waiting", o.server.max_waiting, "Requests that may wait before others get 429")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-connections", o.server.max_connections, "Open connections")
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-body-mib", o.max_body_mib, "Largest request")
      ->check(kNotNegative)
      ->check(CLI::Range(0.001, 4096.0))
      ->capture_default_str()
      ->group(group);
  app.add_option("--request-timeout", o.request_timeout_s, "Seconds after which a request is ended; 0: never")
      ->check(kNotNegative)
      ->group(group);
  app.add_option("--drain-timeout", o.drain_timeout_s, "Seconds that running requests have when the server is stopped")
      ->check(kNotNegative)
      ->capture_default_str()
      ->group(group);
  app.add_option("--file-store-mib", o.file_store_mib, "Memory for uploaded pictures")
      ->check(CLI::Range(1.0, 1048576.0))
      ->capture_default_str()
      ->group(group);
  app.add_option("--file-lifetime", o.server.files.lifetime_s, "Seconds that an unused upload is kept")
      ->check(CLI::Range(1, 1 << 30))
      ->capture_default_str()
      ->group(group);
  app.add_option("--allowed-media-domains", o.allowed_domains, "Hosts that http(s) picture URLs may name")
      ->group(group);
  app.add_option("--allowed-local-media-path", o.server.media.allowed_path,
                 "Folder that file:// URLs may name files of")
      ->group(group);
  app.add_option("--preparation-threads", o.server.preparation_threads, "Threads that decode and resize pictures")
      ->check(CLI::Range(1, 64))
      ->capture_default_str()
      ->group(group);
  app.add_flag("!--no-prefill-follow-ups", o.server.prefill_follow_ups,
               "Do not compute what a following turn will share")
      ->group(group);
  app.add_option("--answer-cache-bytes", o.answer_cache_bytes,
                 "Memory for answers of greedy and seeded requests: the same request gets the same message again "
                 "without the model; 0: none")
      ->check(kNotNegative)
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-format", o.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str()
      ->group(group);
  app.add_option("--log-level,--uvicorn-log-level", o.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error", "critical", "trace"}))
      ->capture_default_str()
      ->group(group);
  app.add_flag("!--disable-uvicorn-access-log,!--no-access-log", o.access_log, "No line for each request")
      ->group(group);
}

void add_model_flags(CLI::App& app, ServeOptions& o) {
  const std::string group = "Model";
  ModelOptions& m = o.model;
  app.add_option("model_argument", o.model_argument, "As --model");
  app.add_option("--model", m.model,
                 "Directory of a checkpoint as published, or its hub id if it is in the local hub cache (default: "
                 "glimpse-mini, built in)")
      ->group(group);
  app.add_option("--served-model-name", o.served_names, "Names that requests may use; the first is shown")
      ->group(group);
  app.add_option("--load-format", m.load_format, "auto, or dummy: random weights of the config's shapes")
      ->check(CLI::IsMember({"auto", "safetensors", "dummy"}))
      ->group(group);
  app.add_option("--dtype", o.dtype, "auto, bfloat16, float32; half")->capture_default_str()->group(group);
  app.add_option("-q,--quantization", o.quantization, "int8, int4 or fp8 (GPU), made at load")->group(group);
  app.add_option("--vision-quantization", m.vision_quantization, "The same for the vision tower")
      ->check(CLI::IsMember({"none", "int8", "int4", "fp8"}))
      ->group(group);
  app.add_flag("--quantize-head", m.quantize_head,
               "The head (logits) in eight bits too: fp8 on a GPU; int8 on the CPU, which int8 and int4 do anyway")
      ->group(group);
  app.add_option("--cache-dir", m.cache_dir, "Where quantised weights are kept: a folder, auto or none")->group(group);
  app.add_option("--max-model-len", o.max_model_len, "Longest context in tokens: 25480, 8k, auto")->group(group);
  app.add_option("--max-num-seqs", o.max_num_seqs, "Requests that run at once")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->group(group);
  app.add_option("--max-num-batched-tokens", m.max_num_batched_tokens,
                 "Tokens of one step (default: 512; 4096 on a GPU)")
      ->check(CLI::Range(1, 65536))
      ->group(group);
  app.add_option("--kv-cache-memory-bytes", o.kv_cache_memory_bytes, "Memory for keys and values")
      ->check(kNotNegative)
      ->group(group);
  app.add_option("--threads", m.threads, "CPU threads (default: one per core)")
      ->check(CLI::Range(1, 1024))
      ->group(group);
  app.add_option("--device", m.device, "Where the model runs; auto: the first GPU if there is one")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->group(group);
  app.add_option("--gpu-memory-utilization", m.gpu_memory_utilization,
                 "GPU: share of its memory to take in all (default 0.9); keys and values get what is left")
      ->check(kNotNegative)
      ->check(CLI::Range(0.0, 1.0))
      ->group(group);
  app.add_flag("--enforce-eager,!--no-enforce-eager", m.enforce_eager, "GPU: do not replay recorded steps")
      ->group(group);
  app.add_option("--isa", m.isa, "Instruction set")
      ->check(CLI::IsMember({"auto", "avx2", "avx512", "avx512_bf16", "amx"}))
      ->group(group);
  app.add_flag("!--lazy-vision", o.preload_vision, "Load the vision tower with the first picture only")->group(group);
  app.add_option("--limit-mm-per-prompt", o.limit_mm_per_prompt, "Pictures of a request: '{\"image\":10}' or image=10")
      ->group(group);
  app.add_option("--mm-processor-cache-gb", o.mm_processor_cache_gb,
                 "GiB of host memory, taken at the start, for picture embeddings that the device has no room for "
                 "(default: 0.5 beside a GPU; on the CPU none, where a longer --max-model-len makes more room)")
      ->check(kNotNegative)
      ->check(CLI::Range(0.0, 4096.0))
      ->group(group);
  app.add_option("--mm-processor-kwargs", o.mm_processor_kwargs, "'{\"max_pixels\":5000000}', also min_pixels")
      ->group(group);
  app.add_option("--chat-template", o.chat_template, "File with another template")->group(group);
  app.add_option("--chat-template-content-format", o.content_format, "auto, string or openai")
      ->check(CLI::IsMember({"auto", "string", "openai"}))
      ->group(group);
  app.add_option("--default-chat-template-kwargs", o.default_template_kwargs, "JSON object")->group(group);
  app.add_option("--generation-config", o.generation_config, "auto: the checkpoint's defaults; vllm: OpenAI's")
      ->check(CLI::IsMember({"auto", "vllm"}))
      ->group(group);
  app.add_option("--reasoning-format", o.reasoning_format, "split or inline (default: inline for AutoGLM-Phone)")
      ->check(CLI::IsMember({"auto", "split", "inline"}))
      ->group(group);
}

size_t mebibytes(double count) {
  return static_cast<size_t>(count * 1024 * 1024);
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

void add_serve_options(CLI::App& app, ServeOptions& options) {
  add_model_flags(app, options);
  add_server_flags(app, options);
  add_compatibility_flags(app, options);
}

Status complete(ServeOptions& o) {
  if (!o.model_argument.empty()) o.model.model = o.model_argument;
  if (o.model.load_format == "safetensors") o.model.load_format = "auto";
  ASSIGN_OR_RETURN(const int64_t max_model_len, parse_count("--max-model-len", o.max_model_len));
  o.model.max_model_len = static_cast<int32_t>(max_model_len);

  if (o.dtype == "half" || o.dtype == "float16") {
    o.warnings.push_back("--dtype " + o.dtype + ": this processor computes in bfloat16 or float32; using auto");
    o.model.dtype = "auto";
  } else if (o.dtype == "float") {
    o.model.dtype = "float32";
  } else if (o.dtype == "auto" || o.dtype == "bfloat16" || o.dtype == "float32") {
    o.model.dtype = o.dtype;
  } else {
    return bad_flag("--dtype", "\"" + o.dtype + "\" is none of auto, half, float16, bfloat16, float, float32");
  }

  if (o.quantization.empty() || o.quantization == "none" || o.quantization == "None") {
    o.model.quantization = "none";
  } else if (o.quantization == "int8" || o.quantization == "int4" || o.quantization == "fp8") {
    o.model.quantization = o.quantization;
  } else if (o.quantization == "gptq" || o.quantization == "awq" || o.quantization == "gptq_marlin" ||
             o.quantization == "awq_marlin" || o.quantization == "compressed-tensors") {
    o.model.quantization = "none";  // the checkpoint says so itself
  } else {
    return bad_flag(
        "--quantization",
        "\"" + o.quantization + "\" is none of int8, int4, fp8 (made at load), gptq, awq, compressed-tensors");
  }

  ServerOptions& s = o.server;
  for (const char* name : {"GLIMPSE_API_KEY", "VLLM_API_KEY"}) {
    const char* key = std::getenv(name);
    if (key != nullptr && *key != '\0') s.api_keys.emplace_back(key);
  }
  if (!o.api_key_file.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_file(o.api_key_file, size_t{1} << 20));
    std::istringstream lines(text);
    const size_t before = s.api_keys.size();
    for (std::string line; std::getline(lines, line);) {
      line.erase(0, line.find_first_not_of(" \t\r"));
      line.erase(line.find_last_not_of(" \t\r") + 1);
      if (!line.empty() && line[0] != '#') s.api_keys.push_back(line);
    }
    if (s.api_keys.size() == before) return bad_flag("--api-key-file", o.api_key_file + " has no key");
  }
  if (std::find(s.api_keys.begin(), s.api_keys.end(), "") != s.api_keys.end()) {
    return bad_flag("--api-key", "an empty key would let everybody in");
  }
  if (s.tls_certificate.empty() != s.tls_key.empty()) {
    return bad_flag("--ssl-certfile", "goes together with --ssl-keyfile");
  }
  if (s.tls_certificate.empty() && !s.tls_client_ca.empty()) {
    return bad_flag("--ssl-ca-certs", "goes together with --ssl-certfile");
  }
  ASSIGN_OR_RETURN(s.cors.origins, list_of("--allowed-origins", o.allowed_origins));
  if (s.cors.allow_credentials &&
      std::find(s.cors.origins.begin(), s.cors.origins.end(), "*") != s.cors.origins.end()) {
    return bad_flag("--allow-credentials", "together with --allowed-origins * would let every site act as its visitor");
  }
  ASSIGN_OR_RETURN(s.media.allowed_domains, list_of("--allowed-media-domains", o.allowed_domains));
  for (std::string& domain : s.media.allowed_domains) domain = to_lower(domain);
  s.connection.max_body_bytes = mebibytes(o.max_body_mib);
  s.files.max_bytes = mebibytes(o.file_store_mib);
  s.files.max_bytes_per_owner = s.api_keys.size() > 1 ? s.files.max_bytes / 2 : s.files.max_bytes;
  s.drain_timeout_ms = static_cast<int64_t>(o.drain_timeout_s * 1e3);
  s.request_timeout_ms = static_cast<int64_t>(o.request_timeout_s * 1e3);
  s.log_requests = o.access_log;
  s.answer_cache_bytes = static_cast<size_t>(o.answer_cache_bytes);

  if (o.refusals.empty()) return {};
  return Error{ErrorCode::kUnsupported, o.refusals.front()};
}

Result<ApiModelOptions> resolve_api(const ServeOptions& o, int32_t max_model_len, ModelSource& source) {
  ApiModelOptions api{.served_names = o.served_names, .max_model_len = max_model_len};
  api.max_images = 999;  // vLLM's default; the context bounds them as well
  if (api.served_names.empty()) {
    api.served_names = {o.model.model.empty() ? "glimpse-mini" : o.model.model};
  }
  if (o.content_format == "string") api.content_format = ContentFormat::kString;
  api.use_generation_config = o.generation_config == "auto";
  if (o.reasoning_format == "split") api.reasoning = ReasoningFormat::kSplit;
  if (o.reasoning_format == "inline") api.reasoning = ReasoningFormat::kInline;
  ASSIGN_OR_RETURN(api.template_kwargs, parse_object("--default-chat-template-kwargs", o.default_template_kwargs));
  if (const json::value* thinking = find(api.template_kwargs, "enable_thinking")) {
    if (!thinking->is_bool()) return bad_flag("--default-chat-template-kwargs", "enable_thinking is true or false");
    api.default_thinking = thinking->get_bool();
    api.template_kwargs.erase("enable_thinking");
  }
  for (const std::string& limit : o.limit_mm_per_prompt) {
    int64_t images = -1;
    if (limit.starts_with('{')) {
      ASSIGN_OR_RETURN(const json::object object, parse_object("--limit-mm-per-prompt", limit));
      ASSIGN_OR_RETURN(images, get_int(object, "image", api.max_images));
    } else if (limit.starts_with("image=")) {
      std::from_chars(limit.data() + 6, limit.data() + limit.size(), images);
    } else if (limit.starts_with("video=") || limit.starts_with("audio=")) {
      continue;
    }
    if (images < 0 || images > 1000) return bad_flag("--limit-mm-per-prompt", "\"" + limit + "\" is not understood");
    api.max_images = static_cast<int>(images);
  }
  ASSIGN_OR_RETURN(const json::object pixels, parse_object("--mm-processor-kwargs", o.mm_processor_kwargs));
  ASSIGN_OR_RETURN(source.image.max_pixels, get_int(pixels, "max_pixels", source.image.max_pixels));
  ASSIGN_OR_RETURN(source.image.min_pixels, get_int(pixels, "min_pixels", source.image.min_pixels));
  if (source.image.min_pixels < 1 || source.image.max_pixels < source.image.min_pixels) {
    return bad_flag("--mm-processor-kwargs", "min_pixels and max_pixels do not fit");
  }
  if (!o.chat_template.empty()) {
    ASSIGN_OR_RETURN(const std::string text, read_file(o.chat_template, size_t{1} << 20));
    ASSIGN_OR_RETURN(source.chat_template, ChatTemplate::load(text, nullptr));
  }
  return api;
}

std::string nearest_option(const CLI::App& app, const std::string& given) {
  const std::string name = given.substr(0, given.find('='));
  std::string best;
  size_t best_distance = std::max<size_t>(3, name.size() / 3);
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& known : option->get_lnames()) {
      const size_t d = distance(name, "--" + known);
      if (d < best_distance) {
        best_distance = d;
        best = "--" + known;
      }
    }
  }
  return best;
}

std::vector<std::string> with_dashes(int argc, const char* const* argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  constexpr std::pair<std::string_view, std::string_view> kShort[] = {
      {"-tp", "--tensor-parallel-size"}, {"-pp", "--pipeline-parallel-size"}, {"-dp", "--data-parallel-size"}};
  for (std::string& argument : arguments) {
    for (const auto& [short_name, name] : kShort) {
      if (argument == short_name) argument = name;
    }
    if (!argument.starts_with("--")) continue;
    const size_t end = std::min(argument.find('='), argument.size());
    std::replace(argument.begin(), argument.begin() + static_cast<ptrdiff_t>(end), '_', '-');
  }
  return arguments;
}

}  // namespace glimpse
