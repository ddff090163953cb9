// The real server over a scripted engine, as a program: for tests in other languages and in a browser. Prints
// "listening on URL" on standard output when it is ready.
//   scripted_server --script FILE [--port N] [--model DIR] [--served-model-name NAME] [--api-key KEY]
//                   [--vision-ms MS] [--max-model-len N] [--cors ORIGIN] [--ping-ms MS] [--rate-limit N]

#include <CLI/CLI.hpp>
#include <boost/asio/signal_set.hpp>
#include <cstdio>

#include "base/mmap.h"
#include "server/http_server.h"
#include "server/log.h"
#include "server/server.h"
#include "server/traces.h"
#include "tests/server/script_file.h"

namespace glimpse {
namespace {

struct Options {
  std::string script;
  std::string model;
  std::vector<std::string> names;
  ServerOptions server;
  ScriptedEngineOptions engine;
};

Status run(Options& options) {
  ASSIGN_OR_RETURN(const std::string text, read_file(options.script, size_t{64} << 20));
  ASSIGN_OR_RETURN(const ScriptFile file, ScriptFile::parse(text));
  ASSIGN_OR_RETURN(const ModelSource source, open_model(options.model, LoadFormat::kDummy));
  options.engine.spatial_merge_size = static_cast<int32_t>(source.config.vision.spatial_merge_size);
  const SteadyClock clock;
  StepRing steps;
  ScriptedEngine engine(options.engine, file.bind(source), &steps);
  ApiModelOptions api{.served_names = options.names, .max_model_len = options.engine.max_model_len};
  if (api.served_names.empty()) api.served_names = {"scripted"};
  const ApiModel model(source, std::move(api));
  asio::io_context io(1);
  HttpServer http(io, options.server, clock);
  RETURN_IF_ERROR(http.bind());
  Server server(io, http, options.server, clock, model, engine, &steps);
  http.start();
  std::printf("listening on %s\n", http.url().c_str());
  std::fflush(stdout);
  asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](error_code, int) { server.drain([&io] { io.stop(); }); });
  io.run();
  return {};
}

int main_of(int argc, char** argv) {
  CLI::App app{"The Glimpse server over a scripted engine, for tests"};
  Options options;
  options.server.port = 0;
  options.server.log_requests = false;
  app.add_option("--script", options.script)->required();
  app.add_option("--port", options.server.port);
  app.add_option("--model", options.model, "Directory with config, tokenizer and template");
  app.add_option("--served-model-name", options.names);
  app.add_option("--api-key", options.server.api_keys);
  app.add_option("--vision-ms", options.engine.vision_ms);
  app.add_option("--max-model-len", options.engine.max_model_len);
  app.add_option("--max-waiting", options.engine.max_waiting);
  app.add_option("--max-running", options.engine.max_running);
  app.add_option("--cors", options.server.cors.origins);
  app.add_option("--ping-ms", options.server.ping_interval_ms);
  app.add_option("--rate-limit", options.server.rate_limit_per_minute);
  app.add_option("--drain-ms", options.server.drain_timeout_ms);
  CLI11_PARSE(app, argc, argv);
  setup_log(false, LogLevel::kWarning);
  const Status status = run(options);
  if (status) return 0;
  std::fprintf(stderr, "scripted_server: %s\n", status.error().message.c_str());
  return 1;
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  return glimpse::main_of(argc, argv);
}
