// vLLM's flags that say nothing to this server. A table instead of code: the name, what follows it, and what is said.

#include "cli/serve_options.h"

namespace glimpse {

namespace {

enum class Takes { kNothing, kValue, kOptionalValue };

struct Flag {
  const char* names;
  Takes takes;
  const char* warning;      // when given; empty: nobody is misled by silence
  const char* refused_but;  // refused unless the value is one of these, comma-separated; null: never refused
};

constexpr const char* kGpu = "memory is planned by itself";

constexpr Flag kFlags[] = {
    {"--trust-remote-code", Takes::kNothing, "", nullptr},
    {"--no-trust-remote-code", Takes::kNothing, "", nullptr},
    {"--tensor-parallel-size", Takes::kValue, "", "1"},
    {"--pipeline-parallel-size", Takes::kValue, "", "1"},
    {"--data-parallel-size", Takes::kValue, "", "1"},
    {"--swap-space", Takes::kValue, kGpu, nullptr},
    {"--cpu-offload-gb", Takes::kValue, kGpu, nullptr},
    {"-O,--compilation-config", Takes::kValue, "", nullptr},
    {"--kv-cache-dtype", Takes::kValue, "", "auto,bfloat16"},
    {"--block-size", Takes::kValue, "the back end chooses its block size; it is in /metrics", nullptr},
    {"--enable-prefix-caching", Takes::kNothing, "", nullptr},
    {"--no-enable-prefix-caching", Takes::kNothing, "the prefix cache is always on; clients can set cache_salt",
     nullptr},
    {"--prefix-caching-hash-algo", Takes::kValue, "", nullptr},
    {"--enable-chunked-prefill", Takes::kNothing, "", nullptr},
    {"--no-enable-chunked-prefill", Takes::kNothing, "prompts are always computed in chunks", nullptr},
    {"--long-prefill-token-threshold", Takes::kValue, "", nullptr},
    {"--disable-chunked-mm-input", Takes::kNothing, "", nullptr},
    {"--scheduling-policy", Takes::kValue, "", "fcfs,priority"},
    {"--async-scheduling", Takes::kNothing, "", nullptr},
    {"--no-async-scheduling", Takes::kNothing, "", nullptr},
    {"--stream-interval", Takes::kValue, "each step is streamed", "1"},
    {"--mm-processor-cache-type", Takes::kValue, "", nullptr},
    {"--mm-encoder-tp-mode", Takes::kValue, "", nullptr},
    {"--media-io-kwargs", Takes::kValue, "it has no effect", nullptr},
    {"--interleave-mm-strings", Takes::kNothing, "", nullptr},
    {"--skip-mm-profiling", Takes::kNothing, "", nullptr},
    {"--trust-request-chat-template", Takes::kNothing, "templates of requests are not used", nullptr},
    {"--response-role", Takes::kValue, "", "assistant"},
    {"--reasoning-parser", Takes::kValue, "", "glm45,glm4_moe,glm47"},
    {"--tool-call-parser", Takes::kValue, "", "glm45,glm4_moe,glm47"},
    {"--enable-auto-tool-choice", Takes::kNothing, "", nullptr},
    {"--override-generation-config", Takes::kValue, "it has no effect; clients can set the fields", nullptr},
    {"--tokenizer", Takes::kValue, "the checkpoint's tokenizer is used", nullptr},
    {"--tokenizer-mode", Takes::kValue, "", nullptr},
    {"--revision", Takes::kValue, "nothing is downloaded", nullptr},
    {"--download-dir", Takes::kValue, "nothing is downloaded", nullptr},
    {"--hf-token", Takes::kOptionalValue, "nothing is downloaded", nullptr},
    {"--seed", Takes::kValue, "requests carry their own seed", nullptr},
    {"--enable-lora", Takes::kNothing, "LoRA adapters are not supported", ""},
    {"--lora-modules", Takes::kValue, "LoRA adapters are not supported", ""},
    {"--max-loras", Takes::kValue, "", nullptr},
    {"--max-lora-rank", Takes::kValue, "", nullptr},
    {"--speculative-config", Takes::kValue, "speculative decoding is not supported; answers are the same without",
     nullptr},
    {"--enable-prompt-tokens-details", Takes::kNothing, "", nullptr},
    {"--enable-force-include-usage", Takes::kNothing, "", nullptr},
    {"--enable-per-request-metrics", Takes::kNothing, "", nullptr},
    {"--enable-log-requests", Takes::kNothing, "", nullptr},
    {"--no-enable-log-requests", Takes::kNothing, "", nullptr},
    {"--disable-log-requests", Takes::kNothing, "", nullptr},
    {"--disable-log-stats", Takes::kNothing, "", nullptr},
    {"--enable-log-outputs", Takes::kNothing, "answers are never logged", nullptr},
    {"--max-log-len", Takes::kValue, "", nullptr},
    {"--enable-request-id-headers", Takes::kNothing, "", nullptr},
    {"--ssl-cert-reqs", Takes::kValue, "client certificates are demanded when --ssl-ca-certs is given", nullptr},
    {"--otlp-traces-endpoint", Takes::kValue, "traces are served at /v1/traces", nullptr},
    {"--collect-detailed-traces", Takes::kValue, "traces are served at /v1/traces", nullptr},
    {"--task,--runner", Takes::kValue, "", "auto,generate"},
    {"--disable-custom-all-reduce", Takes::kNothing, "", nullptr},
};

bool is_listed(std::string_view list, std::string_view value) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    if (item == value) return true;
    list.remove_prefix(std::min(item.size() + 1, list.size()));
  }
  return false;
}

void note(ServeOptions& options, const Flag& flag, const std::string& value) {
  const std::string names = flag.names;
  const std::string name = names.substr(names.rfind(',') + 1);
  const std::string given = value.empty() ? name : name + " " + value;
  if (flag.refused_but != nullptr && !is_listed(flag.refused_but, value)) {
    std::string sentence = given + ": ";
    sentence += *flag.warning != '\0' ? flag.warning : "not supported; possible: " + std::string(flag.refused_but);
    options.refusals.push_back(std::move(sentence));
  } else if (*flag.warning != '\0' && flag.refused_but == nullptr) {
    options.warnings.push_back(given + ": " + flag.warning);
  }
}

}  // namespace

void add_compatibility_flags(CLI::App& app, ServeOptions& options) {
  const std::string hidden;  // an empty group keeps them out of --help
  for (const Flag& flag : kFlags) {
    if (flag.takes == Takes::kNothing) {
      app.add_flag_callback(flag.names, [&options, &flag] { note(options, flag, ""); })->group(hidden);
      continue;
    }
    CLI::Option* option = app.add_option_function<std::vector<std::string>>(
        flag.names, [&options, &flag](const std::vector<std::string>& values) {
          note(options, flag, values.empty() ? "" : values.front());
        });
    option->group(hidden);
    if (flag.takes == Takes::kOptionalValue) option->expected(0, 1);
  }
}

}  // namespace glimpse
