#include <fmt/format.h>
#include <malloc.h>
#include <sys/sysinfo.h>

#include <boost/asio/signal_set.hpp>
#include <cstdio>
#include <thread>

#include "cli/commands.h"
#include "cli/serve_options.h"
#include "engine/batching_engine.h"
#include "engine/device_step_runner.h"
#include "kernels/backend.h"
#include "server/log.h"
#include "server/server.h"
#include "server/startup.h"
#include "server/traces.h"

namespace glimpse {

namespace {

constexpr double kGiB = 1024.0 * 1024 * 1024;

int64_t available_memory() {
  struct sysinfo info{};
  if (::sysinfo(&info) != 0) return int64_t{4} << 30;
  return static_cast<int64_t>(info.freeram + info.bufferram) * info.mem_unit;
}

// KV tokens for all sequences: as many as can be used, within a third of the memory that is free. But where eight whole
// contexts fit in a small pool, no more than that: a small model's server does not grow with what it has seen.
int64_t plan_kv_tokens(const ServeOptions& options, const TextConfig& text, int32_t max_model_len, bool float32) {
  const int64_t token_bytes = text.num_hidden_layers * text.kv_size() * 2 * (float32 ? 4 : 2);
  const int64_t budget = options.kv_cache_memory_bytes > 0 ? options.kv_cache_memory_bytes : available_memory() / 3;
  int64_t wanted = int64_t{options.max_num_seqs} * max_model_len;
  constexpr int64_t kWhole = 64;  // tokens: whole blocks of any back end
  const int64_t real = static_cast<int64_t>(kSmallPoolBytes) / token_bytes / kWhole * kWhole;
  if (options.kv_cache_memory_bytes == 0 && real >= 8 * int64_t{max_model_len}) wanted = std::min(wanted, real);
  return std::clamp(budget / token_bytes, int64_t{max_model_len}, std::max(wanted, int64_t{max_model_len}));
}

// Runs the I/O from the first connection on, beside the loading.
class IoThread {
 public:
  explicit IoThread(asio::io_context& io) : io_(io), thread_([&io] { io.run(); }) {}
  IoThread(const IoThread&) = delete;
  IoThread& operator=(const IoThread&) = delete;
  // Where loading has failed.
  ~IoThread() {
    if (!thread_.joinable()) return;
    io_.stop();
    thread_.join();
  }
  // Returns when somebody has stopped the I/O.
  void wait() { thread_.join(); }

 private:
  asio::io_context& io_;
  std::thread thread_;
};

class ServeCommand {
 public:
  explicit ServeCommand(ServeOptions& options) : options_(options) {}

  Status run() {
    RETURN_IF_ERROR(complete(options_));
    // Bodies, their JSON and their pictures are megabytes, and come and go with every request: given back to the system
    // each time, their pages cost more than the work on them (0.45 ms a MiB, measured).
    constexpr int kKeptBytes = 16 << 20;
    mallopt(M_MMAP_THRESHOLD, kKeptBytes);
    mallopt(M_TRIM_THRESHOLD, kKeptBytes);
    const std::string& level = options_.log_level;
    setup_log(options_.log_format == "json", level == "debug" || level == "trace" ? LogLevel::kDebug
                                             : level == "info"                    ? LogLevel::kInfo
                                             : level == "warning"                 ? LogLevel::kWarning
                                                                                  : LogLevel::kError);
    for (const std::string& warning : options_.warnings) log_warning("{}", warning);
    options_.server.version = GLIMPSE_VERSION;

    const int64_t start_ns = clock_.now_ns();

    // The address first: a port in use is known at once, and who starts us can watch.
    asio::io_context io(1);
    HttpServer http(io, options_.server, clock_);
    RETURN_IF_ERROR(http.bind());
    Startup startup(http, options_.server);
    http.start();
    IoThread thread(io);
    log_info("listening on {}", http.url());

    ASSIGN_OR_RETURN(ModelSource source,
                     open_model(options_.model.model,
                                options_.model.load_format == "dummy" ? LoadFormat::kDummy : LoadFormat::kAuto));
    // Its flags are checked before minutes are spent on loading.
    const int32_t max_model_len = context_length(options_.model, source);
    ASSIGN_OR_RETURN(ApiModelOptions api, resolve_api(options_, max_model_len, source));
    const ApiModel model(source, std::move(api));

    options_.model.max_num_seqs = options_.max_num_seqs;
    ASSIGN_OR_RETURN(auto backend, make_backend(options_.model));
    const bool on_host = backend->shares_host_memory();
    if (!on_host && options_.kv_cache_memory_bytes == 0) {
      if (options_.model.gpu_memory_utilization == 0) options_.model.gpu_memory_utilization = 0.9;  // as vLLM
    } else {
      options_.model.num_kv_tokens =
          plan_kv_tokens(options_, source.config.text, max_model_len, options_.model.dtype == "float32");
    }
    options_.model.num_image_rows = 2 * int64_t{max_model_len};
    log_info("loading {}", source.label);
    const auto watcher = [&startup](const LoadProgress& progress) {
      startup.report(progress.what, progress.total > 0
                                        ? static_cast<double>(progress.done) / static_cast<double>(progress.total)
                                        : -1);
    };
    ASSIGN_OR_RETURN(const auto runner, load_runner(std::move(backend), source, options_.model, watcher));
    startup.report("warming up", -1);
    ASSIGN_OR_RETURN(const std::unique_ptr<StepRunner> step_runner, make_step_runner(*runner, clock_));
    RETURN_IF_ERROR(warm_up(*step_runner, options_.preload_vision));
    model.vocabulary();  // made once, so that the first answer under a schema is as fast as the second
    const double host_gib = options_.mm_processor_cache_gb.value_or(on_host ? 0 : 0.5);
    const auto host_memory = step_runner->allocate_host(static_cast<size_t>(host_gib * kGiB));
    if (!host_memory) return Error{host_memory.error().code, "--mm-processor-cache-gb: " + host_memory.error().message};
    print_plan(*runner, host_gib, static_cast<double>(clock_.now_ns() - start_ns) / 1e9);

    StepRing steps;
    BatchingEngineOptions engine_options;
    engine_options.model_key = source.label + "|" + source.cache_key;
    engine_options.loop.vision.host_memory = {host_memory->as<std::byte>(), host_memory->bytes()};
    engine_options.loop.max_num_waiting = options_.server.max_waiting;
    BatchingEngine engine(*step_runner, clock_, engine_options, &steps);
    return serve(io, http, startup, thread, model, engine, steps);
  }

 private:
  void print_plan(const Runner& runner, double host_gib, double seconds) const {
    const double kv = static_cast<double>(runner.num_blocks()) * static_cast<double>(runner.block_bytes()) / kGiB;
    const double images =
        static_cast<double>(runner.num_image_rows()) * static_cast<double>(runner.image_row_bytes()) / kGiB;
    log_info("loaded and warmed up in {:.1f} s; {} tokens of context, {} requests at once, {} tokens a step", seconds,
             runner.options().max_model_len, runner.options().max_num_seqs, runner.options().max_num_batched_tokens);
    log_info(
        "memory: {:.2f} GiB keys and values ({} tokens), {:.2f} GiB picture embeddings ({} tokens) and {:.2f} GiB "
        "of the host's for more of them, up to {:.2f} GiB uploads; {:.1f} GiB are free",
        kv, int64_t{runner.num_blocks()} * runner.block_size(), images, runner.num_image_rows(), host_gib,
        static_cast<double>(options_.server.files.max_bytes) / kGiB, static_cast<double>(available_memory()) / kGiB);
  }

  Status serve(asio::io_context& io, HttpServer& http, Startup& startup, IoThread& thread, const ApiModel& model,
               Engine& engine, StepRing& steps) {
    // Made on the I/O thread, gone when that has ended.
    std::unique_ptr<Server> server;
    asio::signal_set signals(io);
    std::function<void()> wait_for_signal = [&] {
      signals.async_wait([&](error_code ec, int signal) {
        if (ec) return;
        log_info("signal {}: finishing what runs, at most {:g} s; again: at once", signal, options_.drain_timeout_s);
        server->drain([&io] { io.stop(); });
        wait_for_signal();
      });
    };
    asio::post(io, [&] {
      server = std::make_unique<Server>(io, http, options_.server, clock_, model, engine, &steps);
      startup.done();
      // Before this moment a signal ends the process: there is nothing to finish.
      for (const int signal : {SIGINT, SIGTERM}) signals.add(signal);
      wait_for_signal();
      log_info("Glimpse is ready: {}/ serves {}{}", http.url(), model.name(),
               options_.server.api_keys.empty() ? "" : fmt::format(", {} API keys", options_.server.api_keys.size()));
    });
    thread.wait();
    signals.cancel();
    server.reset();
    engine.stop(clock_.now_ns());
    log_info("stopped");
    return {};
  }

  ServeOptions& options_;
  SteadyClock clock_;
};

}  // namespace

Command add_serve(CLI::App& program) {
  CLI::App* app = program.add_subcommand("serve", "Serve the OpenAI API, and the chat page at /");
  const auto options = std::make_shared<ServeOptions>();
  add_serve_options(*app, *options);
  return {app, [options] {
            const Status status = ServeCommand(*options).run();
            return status ? 0 : report(status.error());
          }};
}

}  // namespace glimpse
