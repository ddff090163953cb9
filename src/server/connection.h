#pragma once

// One client's connection: reads request heads and bodies within the limits, writes answers, notices that the client
// has gone. Everything happens on the I/O thread; nothing here knows what a request is about.
//
// Reading while a request is worked on serves one purpose, to see the end of the stream: what arrives is kept for the
// next request, up to a bound. Writing queues bytes and sends them at once when the socket takes them, so a streamed
// token costs one system call and no allocation of its own; what a slow reader does not take is bounded.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "server/any_stream.h"
#include "server/asio.h"
#include "server/http_message.h"

namespace glimpse {

struct ConnectionLimits {
  size_t max_head_bytes = size_t{64} << 10;
  uint64_t max_body_bytes = uint64_t{128} << 20;
  int64_t idle_timeout_ms = 75'000;  // between two requests; longer than the usual proxy's minute
  int64_t head_timeout_ms = 10'000;  // from a head's first byte to its last; also the TLS handshake
  // A body has this long, and a second more for every 16 KiB that have come.
  int64_t body_timeout_ms = 30'000;
  int64_t write_timeout_ms = 60'000;              // without a byte being taken
  size_t max_pending_bytes = size_t{1} << 20;     // of a streamed answer that the client has not taken
  size_t max_pipelined_bytes = size_t{64} << 10;  // of following requests, kept while one is worked on
};

// What is wrong with a request before anyone has looked at its meaning.
struct HttpFault {
  int status = 400;
  std::string message;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(AnyStream stream, std::string client, const ConnectionLimits& limits, const Clock& clock);
  ~Connection();

  Task<bool> handshake(asio::ssl::context& context);

  struct Head {
    std::optional<HttpRequest> request;  // neither: the client closed the connection between two requests
    std::optional<HttpFault> fault;      // answer it and close
  };
  Task<Head> read_head();

  struct Piece {
    std::string_view bytes;          // valid until the next call or suspension; empty at the end of the body
    std::optional<HttpFault> fault;  // answer it, if possible, and close
  };
  Task<Piece> read_body();
  // Whether the body has been read to its end.
  bool body_done() const;

  // Calls `gone` once when the client closes the connection from here on; replaced by the next call.
  void watch(std::function<void()> gone);
  void unwatch() { gone_ = nullptr; }

  // Queues bytes and sends what the socket takes. False when the connection is broken, or (bounded) more than
  // max_pending_bytes would wait.
  bool write(std::string_view bytes, bool bounded);
  size_t pending_bytes() const { return pending_.size() + writing_.size() - written_; }
  // So much waits that more had better come in fewer pieces.
  bool congested() const { return pending_bytes() > limits_.max_pending_bytes / 16; }
  // Returns when everything has been sent, or the connection is broken.
  Task<void> flush();
  bool broken() const { return broken_; }

  // After an answer to a request whose body was not read: lets the client see the answer instead of a reset.
  Task<void> linger();
  void close();

  // Called by the server every now and then.
  void check_deadline(int64_t now_ns);
  // Between two requests, or before the first; a draining server closes it.
  bool idle() const { return phase_ == Phase::kIdle; }

  // Hands the byte stream over to a WebSocket. Nothing else may be called afterwards but close, broken and deadline.
  AnyStream& stream() { return stream_; }
  bool has_unread_bytes() const { return in_.size() > in_begin_ || filling_; }
  // A WebSocket keeps its own time: it says how long its peer may be silent.
  void set_deadline(int64_t deadline_ns);

  const std::string& client() const { return client_; }

 private:
  enum class Phase { kIdle, kHead, kBody, kWork };
  struct Parser;

  void start_fill();
  void on_filled(error_code ec, size_t bytes);
  Task<bool> fill();
  Task<size_t> fill_piece(size_t most);
  Task<Piece> read_counted();
  void start_write();
  void break_off();
  void expect_within(int64_t ms);
  void expect_more_body();
  HttpFault broken_body() const;

  AnyStream stream_;
  const std::string client_;
  const ConnectionLimits& limits_;
  const Clock& clock_;
  Phase phase_ = Phase::kIdle;

  std::unique_ptr<Parser> parser_;
  std::string in_;  // received and not parsed: [in_begin_, size)
  size_t in_begin_ = 0;
  std::string fill_buffer_;
  std::string body_piece_;
  std::optional<uint64_t> body_left_;  // of a body of declared length, which needs no parser
  size_t piece_bytes_ = 0;             // of body_piece_, from the last fill_piece()
  bool filling_ = false;
  bool read_failed_ = false;
  bool timed_out_ = false;
  bool wants_continue_ = false;
  asio::steady_timer filled_;  // never expires; cancelled when a fill is done
  std::function<void()> gone_;
  int64_t body_begin_ns_ = 0;
  uint64_t body_bytes_ = 0;

  std::string pending_;
  std::string writing_;
  size_t written_ = 0;  // of writing_
  bool write_active_ = false;
  bool broken_ = false;
  asio::steady_timer flushed_;  // never expires; cancelled when nothing is left to write

  int64_t read_deadline_ns_ = INT64_MAX;
  int64_t write_deadline_ns_ = INT64_MAX;
};

// Sends a whole answer; true when the connection can take the next request.
Task<bool> send_response(Connection& connection, const HttpRequest& request, const HttpResponse& response,
                         bool keep_alive);

}  // namespace glimpse
