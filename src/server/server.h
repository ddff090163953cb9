#pragma once

// The whole server over one engine: wires the parts, adds the routes. `main` and the tests make one, run the
// io_context, and drain it in the end.

#include <functional>
#include <memory>

#include "api/model.h"
#include "base/clock.h"
#include "base/result.h"
#include "engine/engine.h"
#include "server/asio.h"
#include "server/options.h"

namespace glimpse {

class StepRing;

class Server {
 public:
  // Everything is borrowed and outlives this. `steps`: what the engine was made to report to; may be null.
  Server(asio::io_context& io, const ServerOptions& options, const Clock& clock, const ApiModel& model, Engine& engine,
         StepRing* steps);
  // The io_context has to have stopped running.
  ~Server();

  // Errors: kResource naming the address, kInvalidData for TLS files.
  Status bind();
  void start();
  uint16_t port() const;
  std::string url() const;

  // Graceful end: /ready says 503, new requests are refused, running ones are finished or, at the deadline, cut off;
  // then `done` is called. A second call makes the deadline now.
  void drain(std::function<void()> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace glimpse
