#include "server/http_server.h"

#include <fmt/format.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cmath>

#include "server/error_response.h"
#include "server/log.h"

namespace glimpse {

namespace {

using Protocol = asio::generic::stream_protocol;
using GenericAcceptor = asio::basic_socket_acceptor<Protocol>;

constexpr auto kTick = std::chrono::milliseconds(100);
constexpr int kUnsentBytes = 256 << 10;
constexpr uint64_t kDiscardBytes = uint64_t{1} << 20;

// Names that cannot hurt in a header or a log line.
bool is_sane_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.' || c == ':';
  });
}

std::string address_of(const Protocol::endpoint& endpoint) {
  const auto* address = reinterpret_cast<const sockaddr*>(endpoint.data());
  asio::ip::tcp::endpoint tcp;
  if ((address->sa_family != AF_INET && address->sa_family != AF_INET6) || endpoint.size() > tcp.capacity()) {
    return "unix";
  }
  std::memcpy(tcp.data(), endpoint.data(), endpoint.size());
  tcp.resize(endpoint.size());
  return tcp.address().to_string();
}

}  // namespace

struct HttpServer::Acceptor {
  explicit Acceptor(asio::io_context& io) : socket(io) {}
  GenericAcceptor socket;
  std::unique_ptr<asio::ssl::context> tls;
};

HttpServer::HttpServer(asio::io_context& io, const ServerOptions& options, const Clock& clock)
    : io_(io),
      options_(options),
      clock_(clock),
      keys_(options.api_keys),
      limiter_(options.rate_limit_per_minute, options.rate_limit_burst),
      budget_{.limit = options.max_body_bytes_in_flight},
      acceptor_(std::make_unique<Acceptor>(io)),
      ids_(std::random_device{}()) {}

HttpServer::~HttpServer() {
  if (!options_.unix_socket.empty() && port_ == 1) ::unlink(options_.unix_socket.c_str());
}

Status HttpServer::bind() {
  error_code ec;
  Protocol::endpoint endpoint;
  std::string where;
  if (!options_.unix_socket.empty()) {
    where = options_.unix_socket;
    struct stat info{};
    // A socket that a dead server left behind; anything else under that name is not ours to remove.
    if (::lstat(where.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) ::unlink(where.c_str());
    endpoint = asio::local::stream_protocol::endpoint(where);
  } else {
    where = fmt::format("{}:{}", options_.host, options_.port);
    asio::ip::tcp::resolver resolver(io_);
    const std::string host = options_.host == "localhost" ? "127.0.0.1" : options_.host;
    const auto found = resolver.resolve(host, std::to_string(options_.port), asio::ip::tcp::resolver::passive, ec);
    if (ec || found.empty()) return Error{ErrorCode::kResource, where + ": " + ec.message()};
    endpoint = found.begin()->endpoint();
  }
  auto& socket = acceptor_->socket;
  socket.open(endpoint.protocol(), ec);
  if (!ec && options_.unix_socket.empty()) socket.set_option(asio::socket_base::reuse_address(true), ec);
  if (!ec) socket.bind(endpoint, ec);
  if (ec) return Error{ErrorCode::kResource, "cannot listen on " + where + ": " + ec.message()};
  if (options_.unix_socket.empty()) {
    asio::ip::tcp::endpoint bound;
    const auto local = socket.local_endpoint(ec);
    std::memcpy(bound.data(), local.data(), local.size());
    bound.resize(local.size());
    port_ = bound.port();
  } else {
    port_ = 1;
  }

  if (options_.tls_certificate.empty()) return {};
  acceptor_->tls = std::make_unique<asio::ssl::context>(asio::ssl::context::tls_server);
  auto& tls = *acceptor_->tls;
  tls.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  tls.use_certificate_chain_file(options_.tls_certificate, ec);
  if (ec) return Error{ErrorCode::kInvalidData, options_.tls_certificate + ": " + ec.message()};
  tls.use_private_key_file(options_.tls_key, asio::ssl::context::pem, ec);
  if (ec) return Error{ErrorCode::kInvalidData, options_.tls_key + ": " + ec.message()};
  if (!options_.tls_client_ca.empty()) {
    tls.load_verify_file(options_.tls_client_ca, ec);
    if (ec) return Error{ErrorCode::kInvalidData, options_.tls_client_ca + ": " + ec.message()};
    tls.set_verify_mode(asio::ssl::verify_peer | asio::ssl::verify_fail_if_no_peer_cert);
  }
  return {};
}

void HttpServer::start() {
  error_code ec;
  acceptor_->socket.listen(1024, ec);
  if (ec) {
    log_error("listen: {}", ec.message());
    return;
  }
  asio::co_spawn(io_, accept_loop(), asio::detached);
  asio::co_spawn(io_, tick(), asio::detached);
}

std::string HttpServer::url() const {
  if (!options_.unix_socket.empty()) return "unix:" + options_.unix_socket;
  const std::string host = options_.host == "0.0.0.0" || options_.host == "::" ? "127.0.0.1" : options_.host;
  return fmt::format("{}://{}:{}", options_.tls_certificate.empty() ? "http" : "https",
                     host.find(':') != std::string::npos ? "[" + host + "]" : host, port_);
}

std::string HttpServer::new_request_id() {
  return fmt::format("{:016x}{:016x}", ids_(), ids_());
}

Task<void> HttpServer::accept_loop() {
  for (;;) {
    error_code ec;
    Protocol::endpoint peer;
    AnyStream::Socket socket(io_);
    co_await acceptor_->socket.async_accept(socket, peer, asio::redirect_error(asio::use_awaitable, ec));
    if (draining_ || !acceptor_->socket.is_open()) co_return;
    if (ec) {
      // Out of file descriptors, most likely: wait for some connection to end.
      log_warning("accept: {}", ec.message());
      asio::steady_timer pause(io_, std::chrono::milliseconds(50));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
      continue;
    }
    if (connections_.size() >= options_.max_connections) continue;  // closed at once
    const int yes = 1;
    if (options_.unix_socket.empty()) {
      ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
      // Otherwise the kernel would keep megabytes for a client that does not read.
      ::setsockopt(socket.native_handle(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kUnsentBytes, sizeof kUnsentBytes);
    }
    auto connection =
        std::make_shared<Connection>(AnyStream(std::move(socket)), address_of(peer), options_.connection, clock_);
    connections_.insert(connection);
    asio::co_spawn(io_, serve(connection), [this, connection](std::exception_ptr failure) {
      if (failure) {
        try {
          std::rethrow_exception(failure);
        } catch (const std::exception& error) {
          log_error("a connection ended with an exception: {}", error.what());
        }
      }
      connection->close();
      connections_.erase(connection);
      check_drained();
    });
  }
}

Task<void> HttpServer::serve(std::shared_ptr<Connection> connection) {
  if (acceptor_->tls) {
    const bool greeted = co_await connection->handshake(*acceptor_->tls);
    if (!greeted) co_return;
  }
  for (;;) {
    Connection::Head head = co_await connection->read_head();
    if (head.fault) {
      HttpRequest nothing;
      nothing.id = new_request_id();
      co_await send_response(*connection, nothing, error_response(*head.fault), false);
      co_await connection->linger();
      co_return;
    }
    if (!head.request) co_return;
    const bool again = co_await serve_one(*connection, std::move(*head.request));
    if (!again) co_return;
  }
}

Task<bool> HttpServer::serve_one(Connection& connection, HttpRequest request) {
  const std::string_view given_id = request.header("x-request-id");
  request.id = is_sane_id(given_id) ? std::string(given_id) : new_request_id();
  if (!options_.root_path.empty() && request.path.starts_with(options_.root_path)) {
    request.path.erase(0, options_.root_path.size());
    if (request.path.empty()) request.path = "/";
  }
  Exchange exchange(connection, std::move(request), budget_);
  exchange.draining = draining_;
  const Route* route = nullptr;
  std::optional<HttpResponse> response;
  bool failed = false;
  try {
    response = co_await dispatch(exchange, &route);
  } catch (const std::bad_alloc&) {
    failed = true;
    if (!exchange.stream_started()) response = retry_response(503, "out of memory", 5);
  } catch (const std::exception& error) {
    failed = true;
    log_error("request {}: unexpected: {}", exchange.request.id, error.what());
    if (!exchange.stream_started()) {
      response = error_response(ApiError{.status = 500, .type = "server_error", .message = "internal error"});
    }
  }
  exchange.draining = draining_;
  int status = exchange.stream_status();
  bool again = false;
  if (response) {
    status = response->status;
    response->headers.insert(response->headers.end(), exchange.extra_headers().begin(), exchange.extra_headers().end());
    co_await discard_body(connection, exchange.request);
    again = co_await send_response(connection, exchange.request, *response, exchange.keep_alive());
  } else if (exchange.stream_finished() && !failed) {
    co_await connection.flush();
    again = exchange.keep_alive() && !exchange.request.http10 && !connection.broken() && connection.body_done();
  } else if (route != nullptr && route->websocket) {
    status = 101;
  }
  if (on_answered) {
    on_answered({.request = &exchange.request,
                 .route = exchange.route,
                 .status = status,
                 .duration_ns = clock_.now_ns() - exchange.request.arrival_ns});
  }
  co_return again;
}

// A small body that nobody wanted is read, so that the connection can go on.
Task<void> HttpServer::discard_body(Connection& connection, const HttpRequest& request) {
  if (connection.body_done() || request.content_length.value_or(kDiscardBytes + 1) > kDiscardBytes ||
      !request.header("expect").empty()) {
    co_return;
  }
  for (;;) {
    const Connection::Piece piece = co_await connection.read_body();
    if (piece.fault || piece.bytes.empty()) co_return;
  }
}

Task<std::optional<HttpResponse>> HttpServer::dispatch(Exchange& exchange, const Route** route) {
  add_cors(exchange);
  const HttpRequest& request = exchange.request;
  if (request.method == "OPTIONS") {
    HttpResponse response{.status = 204, .content_type = ""};
    response.headers = {{"allow", options_.cors.methods},
                        {"access-control-allow-methods", options_.cors.methods},
                        {"access-control-allow-headers", options_.cors.headers},
                        {"access-control-max-age", "600"}};
    co_return response;
  }
  if (before_ready) co_return before_ready(exchange);
  Router::Match match = router.find(request.method, request.path);
  if (match.route == nullptr) {
    // Without a key nobody learns which paths there are.
    if (!keys_.owner(request)) co_return unauthorized_response();
    if (!match.known) {
      co_return error_response(ApiError{.status = 404,
                                        .type = "invalid_request_error",
                                        .message = fmt::format("no route {} {}", request.method, request.path)});
    }
    HttpResponse response = error_response(ApiError{.status = 405,
                                                    .type = "invalid_request_error",
                                                    .message = fmt::format("{} is not allowed here", request.method)});
    response.headers.emplace_back("allow", match.allowed);
    co_return response;
  }
  *route = match.route;
  exchange.route = match.route->pattern;
  exchange.param = std::move(match.param);
  if (auto refusal = refuse(exchange, *match.route)) co_return refusal;
  std::optional<HttpResponse> response = co_await match.route->handler(exchange);
  co_return response;
}

std::optional<HttpResponse> HttpServer::refuse(Exchange& exchange, const Route& route) {
  if (!route.open) {
    auto owner = keys_.owner(exchange.request);
    if (!owner) return unauthorized_response();
    exchange.owner = std::move(*owner);
  }
  if (!route.limited) return std::nullopt;
  if (draining_) return retry_response(503, "the server is shutting down", 10);
  if (const auto wait_s = take_turn(exchange.owner, exchange.request.client)) {
    return retry_response(429, fmt::format("rate limit: {:g} requests a minute", options_.rate_limit_per_minute),
                          *wait_s);
  }
  return std::nullopt;
}

std::optional<double> HttpServer::take_turn(const std::string& owner, const std::string& client) {
  return limiter_.take(owner.empty() ? client : owner, clock_.now_ns());
}

bool HttpServer::allows_websocket_origin(const HttpRequest& request) const {
  const std::string_view origin = request.header("origin");
  if (origin.empty() || keys_.required()) return true;
  const auto& listed = options_.cors.origins;
  if (std::find(listed.begin(), listed.end(), "*") != listed.end() ||
      std::find(listed.begin(), listed.end(), origin) != listed.end()) {
    return true;
  }
  const size_t scheme = origin.find("://");
  return scheme != std::string_view::npos && equals_ignoring_case(origin.substr(scheme + 3), request.header("host"));
}

void HttpServer::add_cors(Exchange& exchange) const {
  const std::string_view origin = exchange.request.header("origin");
  if (origin.empty() || options_.cors.origins.empty()) return;
  const bool any =
      std::find(options_.cors.origins.begin(), options_.cors.origins.end(), "*") != options_.cors.origins.end();
  const bool listed =
      std::find(options_.cors.origins.begin(), options_.cors.origins.end(), origin) != options_.cors.origins.end();
  if (!any && !listed) return;
  // With credentials the origin has to be named; "*" would be refused by browsers.
  const bool named = listed || options_.cors.allow_credentials;
  exchange.add_header("access-control-allow-origin", named ? std::string(origin) : "*");
  if (named) exchange.add_header("vary", "origin");
  if (options_.cors.allow_credentials) exchange.add_header("access-control-allow-credentials", "true");
  exchange.add_header("access-control-expose-headers", "x-request-id, server-timing, retry-after");
}

Task<void> HttpServer::tick() {
  asio::steady_timer timer(io_);
  while (!stopped_) {
    timer.expires_after(kTick);
    error_code ignored;
    co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    const int64_t now_ns = clock_.now_ns();
    for (const auto& connection : connections_) connection->check_deadline(now_ns);
    if (now_ns > drain_deadline_ns_) {
      for (const auto& connection : connections_) connection->close();
      check_drained();
    }
  }
}

void HttpServer::drain(int64_t deadline_ns, std::function<void()> drained) {
  draining_ = true;
  drain_deadline_ns_ = deadline_ns;
  drained_ = std::move(drained);
  error_code ignored;
  acceptor_->socket.close(ignored);
  for (const auto& connection : connections_) {
    if (connection->idle()) connection->close();
  }
  check_drained();
}

void HttpServer::check_drained() {
  if (!draining_ || !drained_) return;
  if (!connections_.empty()) return;
  stopped_ = true;
  asio::post(io_, std::exchange(drained_, nullptr));
}

}  // namespace glimpse
