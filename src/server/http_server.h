#pragma once

// Listens, accepts, and takes each request through the gates that do not depend on its meaning: CORS, API key, rate
// limit, drain. One I/O thread owns everything here.

#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <unordered_set>

#include "base/clock.h"
#include "base/result.h"
#include "server/access.h"
#include "server/exchange.h"
#include "server/options.h"
#include "server/router.h"

namespace glimpse {

// What the log and the metrics learn about a request when it has been answered.
struct RequestOutcome {
  const HttpRequest* request = nullptr;
  std::string_view route;  // the pattern, or "" when none matched
  int status = 0;
  int64_t duration_ns = 0;
};

class HttpServer {
 public:
  HttpServer(asio::io_context& io, const ServerOptions& options, const Clock& clock);
  ~HttpServer();

  Router router;
  std::function<void(const RequestOutcome&)> on_answered;  // may be empty
  // While set it answers everything (startup.h).
  std::function<HttpResponse(Exchange&)> before_ready;

  // Takes the address, so that a second server fails before it loads anything; nobody is let in yet. Errors: kResource
  // naming the address; kInvalidData for TLS files.
  Status bind();
  // Begins to accept connections.
  void start();
  uint16_t port() const { return port_; }
  std::string url() const;

  // Takes no new connections, closes idle ones, refuses new requests with 503; calls `drained` when the last
  // connection has ended, or at the deadline, when it closes what is left.
  void drain(int64_t deadline_ns, std::function<void()> drained);
  bool draining() const { return draining_; }
  size_t num_connections() const { return connections_.size(); }

  std::string new_request_id();
  // Counts a request that came over a WebSocket against the rate limit; seconds to wait when it is over it.
  std::optional<double> take_turn(const std::string& owner, const std::string& client);
  // A page of another site may not speak for its visitor: without API keys the origin has to be this host, or listed.
  bool allows_websocket_origin(const HttpRequest& request) const;

 private:
  struct Acceptor;

  Task<void> accept_loop();
  Task<void> serve(std::shared_ptr<Connection> connection);
  // False: close the connection.
  Task<bool> serve_one(Connection& connection, HttpRequest request);
  Task<std::optional<HttpResponse>> dispatch(Exchange& exchange, const Route** route);
  std::optional<HttpResponse> refuse(Exchange& exchange, const Route& route);
  void add_cors(Exchange& exchange) const;
  Task<void> discard_body(Connection& connection, const HttpRequest& request);
  Task<void> tick();
  void check_drained();

  asio::io_context& io_;
  const ServerOptions& options_;
  const Clock& clock_;
  ApiKeys keys_;
  RateLimiter limiter_;
  BodyBudget budget_;
  std::unique_ptr<Acceptor> acceptor_;
  uint16_t port_ = 0;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
  bool draining_ = false;
  bool stopped_ = false;
  int64_t drain_deadline_ns_ = INT64_MAX;
  std::function<void()> drained_;
  std::mt19937_64 ids_;
};

}  // namespace glimpse
