#pragma once

// The whole server over one engine: wires the parts, adds the routes.

#include <functional>
#include <memory>

#include "api/model.h"
#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "server/asio.h"
#include "server/options.h"

namespace glimpse {

class HttpServer;
class StepRing;

class Server {
 public:
  // Everything is borrowed and outlives this. `http` may have been accepting connections for a while; then this is the
  // I/O thread. `steps`: what the engine was made to report to; may be null.
  Server(asio::io_context& io, HttpServer& http, const ServerOptions& options, const Clock& clock,
         const ApiModel& model, Engine& engine, StepRing* steps);
  // The io_context has to have stopped running.
  ~Server();

  // Graceful end: /ready says 503, new requests are refused, running ones are finished or, at the deadline, cut off;
  // then `done` is called. A second call makes the deadline now.
  void drain(std::function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glimpse
