#include "server/server.h"

#include "server/log.h"
#include "server/service.h"
#include "server/websocket_session.h"

namespace glimpse {

struct Server::Impl {
  Impl(asio::io_context& io, HttpServer& http, const ServerOptions& options, const Clock& clock, const ApiModel& model,
       Engine& engine, StepRing* steps)
      : service(io, options, clock, model, engine, steps, http) {}

  // Expiry of files, and the engine's step records before their ring is full.
  Task<void> housekeeping() {
    asio::steady_timer timer(service.io);
    for (int round = 0; !stopped; ++round) {
      timer.expires_after(std::chrono::milliseconds(100));
      error_code ignored;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
      service.drain_steps();
      if (round % 50 == 0) service.files.expire();
    }
  }

  Service service;
  bool stopped = false;
};

Server::Server(asio::io_context& io, HttpServer& http, const ServerOptions& options, const Clock& clock,
               const ApiModel& model, Engine& engine, StepRing* steps)
    : impl_(std::make_unique<Impl>(io, http, options, clock, model, engine, steps)) {
  Service& service = impl_->service;
  service.http.on_answered = [&service](const RequestOutcome& outcome) {
    service.metrics.count_http(outcome.route, outcome.request->method, outcome.status,
                               static_cast<double>(outcome.duration_ns) / 1e9);
    if (!service.options.log_requests) return;
    log_event(LogLevel::kInfo, "http",
              {{"request_id", outcome.request->id},
               {"client", outcome.request->client},
               {"method", outcome.request->method},
               {"path", outcome.request->path},
               {"status", outcome.status},
               {"ms", static_cast<double>(outcome.duration_ns / 1000) / 1e3}});
  };
  add_health_routes(service);
  add_model_routes(service);
  add_generation_routes(service);
  add_file_routes(service);
  add_draft_routes(service);
  add_token_routes(service);
  add_websocket_route(service);
  add_page_routes(service);
  asio::co_spawn(io, impl_->housekeeping(), asio::detached);
}

Server::~Server() {
  // What still runs is cut off and seen to its end: its coroutines refer to the parts that go now.
  Service& service = impl_->service;
  drain([] {});
  drain([] {});
  const int64_t patience_ns = service.clock.now_ns() + int64_t{10} * 1'000'000'000;
  while ((service.http.num_connections() > 0 || service.generations.num_active() > 0) &&
         service.clock.now_ns() < patience_ns) {
    service.io.restart();
    service.io.run_for(std::chrono::milliseconds(20));
  }
  impl_->service.text_pool.stop();
  impl_->service.device.stop();
  impl_->service.preparation.stop();
  impl_->service.fetch.stop();
  // Who waited for work that was dropped unwinds on the I/O context, while what it refers to is still there.
  service.io.restart();
  service.io.poll();
}

void Server::drain(std::function<void()> done) {
  Service& service = impl_->service;
  const bool again = service.http.draining();
  const int64_t deadline_ns = service.clock.now_ns() + (again ? 0 : service.options.drain_timeout_ms * 1'000'000);
  for (const auto& weak : service.sessions) {
    if (const auto session = weak.lock()) session->drain();
  }
  service.http.drain(deadline_ns, [this, done = std::move(done)] {
    impl_->stopped = true;
    done();
  });
}

}  // namespace glimpse
