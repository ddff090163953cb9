#pragma once

// One request and the way to answer it, as handlers see it.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "server/connection.h"
#include "server/http_message.h"

namespace glimpse {

class HttpServer;

// Counts the bytes of bodies being received in the whole process. I/O thread only.
struct BodyBudget {
  size_t limit = 0;
  size_t used = 0;
};

class Exchange {
 public:
  Exchange(Connection& connection, HttpRequest head, BodyBudget& budget)
      : request(std::move(head)), connection_(connection), budget_(budget) {}
  ~Exchange() { release(); }
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  HttpRequest request;
  std::string owner;  // whose files, drafts and cache these are; empty without API keys
  std::string param;  // what stood in the path for "{id}"
  std::string route;  // the pattern that matched, for metrics
  bool draining = false;
  int64_t received_ns = 0;  // when the body's last byte had come

  // The whole body, at most `limit` bytes. The failure, if there is one, is to be returned by the handler.
  struct Body {
    std::string bytes;
    std::optional<HttpResponse> failure;
  };
  Task<Body> read_all(uint64_t limit);
  // The next piece, for bodies that are worked on while they arrive; see Connection::read_body. A fault when it would
  // be more than `limit` bytes.
  Task<Connection::Piece> read_piece(uint64_t limit);

  // Begins an answer of unknown length. From here on the handler writes it and returns nothing.
  void start_stream(const HttpResponse& head);
  bool stream_started() const { return stream_started_; }
  // False: the client is gone or does not read; give up and cancel.
  bool write_stream(std::string_view bytes);
  void finish_stream();
  bool stream_finished() const { return stream_finished_; }

  Connection& connection() { return connection_; }
  const Connection& connection() const { return connection_; }
  // Status and bytes of a streamed answer, for the log.
  int stream_status() const { return stream_status_; }
  bool keep_alive() const { return request.keep_alive && !draining; }
  const std::vector<std::pair<std::string, std::string>>& extra_headers() const { return extra_headers_; }
  // Added to whatever answer is sent (CORS).
  void add_header(std::string name, std::string value) {
    extra_headers_.emplace_back(std::move(name), std::move(value));
  }

 private:
  void release();

  Connection& connection_;
  BodyBudget& budget_;
  size_t budget_used_ = 0;
  bool stream_started_ = false;
  bool stream_finished_ = false;
  int stream_status_ = 0;
  HeaderList extra_headers_;
  std::string frame_;  // reused for chunk framing
};

// Returns the answer, or nothing when it has been streamed or the connection was taken over.
using Handler = std::function<Task<std::optional<HttpResponse>>(Exchange&)>;

}  // namespace glimpse
