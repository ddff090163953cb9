#include "server/connection.h"

#include <sys/socket.h>

#include <boost/beast/core/buffers_range.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>

namespace glimpse {

namespace http = boost::beast::http;

namespace {

constexpr size_t kFillBytes = size_t{16} << 10;       // heads and small bodies
constexpr size_t kBodyFillBytes = size_t{256} << 10;  // pictures
constexpr int64_t kBodyBytesPerSecond = 16 << 10;
constexpr size_t kLingerBytes = size_t{4} << 20;

HttpFault fault_of(error_code ec) {
  if (ec == http::error::header_limit) return {431, "the request's head is too large"};
  if (ec == http::error::body_limit) return {413, "the request's body is too large"};
  if (ec == http::error::bad_content_length) return {400, "the content-length header is not valid"};
  if (ec == http::error::bad_transfer_encoding) return {400, "the transfer-encoding header is not valid"};
  return {400, "the request is not valid HTTP/1.1: " + ec.message()};
}

}  // namespace

struct Connection::Parser {
  http::request_parser<http::buffer_body> http;
};

Connection::Connection(AnyStream stream, std::string client, const ConnectionLimits& limits, const Clock& clock)
    : stream_(std::move(stream)),
      client_(std::move(client)),
      limits_(limits),
      clock_(clock),
      filled_(stream_.get_executor(), asio::steady_timer::time_point::max()),
      flushed_(stream_.get_executor(), asio::steady_timer::time_point::max()) {
  fill_buffer_.resize(kFillBytes);
  expect_within(limits_.idle_timeout_ms);
}

Connection::~Connection() = default;

Task<bool> Connection::handshake(asio::ssl::context& context) {
  stream_.start_tls(context);
  expect_within(limits_.head_timeout_ms);
  error_code ec;
  co_await stream_.tls()->async_handshake(asio::ssl::stream_base::server,
                                          asio::redirect_error(asio::use_awaitable, ec));
  if (ec) break_off();
  co_return !ec;
}

// Reading -------------------------------------------------------------------------------------------------------------

void Connection::start_fill() {
  if (filling_ || read_failed_ || broken_) return;
  filling_ = true;
  stream_.async_read_some(asio::buffer(fill_buffer_),
                          [self = shared_from_this()](error_code ec, size_t bytes) { self->on_filled(ec, bytes); });
}

void Connection::on_filled(error_code ec, size_t bytes) {
  filling_ = false;
  if (in_begin_ == in_.size()) {
    in_.clear();
    in_begin_ = 0;
  }
  in_.append(fill_buffer_, 0, bytes);
  if (ec) read_failed_ = true;
  filled_.cancel();
  if (phase_ != Phase::kWork) return;
  if (!read_failed_) {
    if (gone_ && in_.size() - in_begin_ < limits_.max_pipelined_bytes) start_fill();
  } else if (gone_) {
    std::exchange(gone_, nullptr)();
  }
}

Task<bool> Connection::fill() {
  start_fill();
  while (filling_) {
    error_code ignored;
    co_await filled_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return !read_failed_;
}

// At most `most` bytes of the body, from the socket to body_piece_: 0 at the stream's end.
Task<size_t> Connection::fill_piece(size_t most) {
  if (read_failed_ || broken_) co_return 0;  // a second end of a stream is never reported
  filling_ = true;
  piece_bytes_ = 0;
  stream_.async_read_some(asio::buffer(body_piece_.data(), std::min(most, body_piece_.size())),
                          [self = shared_from_this()](error_code ec, size_t bytes) {
                            self->filling_ = false;
                            self->piece_bytes_ = bytes;
                            if (ec) self->read_failed_ = true;
                            self->filled_.cancel();
                          });
  while (filling_) {
    error_code ignored;
    co_await filled_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  co_return piece_bytes_;
}

Task<Connection::Head> Connection::read_head() {
  Head head;
  phase_ = Phase::kIdle;
  expect_within(limits_.idle_timeout_ms);
  while (in_begin_ == in_.size()) {
    const bool more = co_await fill();
    if (!more && in_begin_ == in_.size()) co_return head;
  }
  phase_ = Phase::kHead;
  expect_within(limits_.head_timeout_ms);
  const int64_t arrival_ns = clock_.now_ns();
  parser_ = std::make_unique<Parser>();
  auto& parser = parser_->http;
  parser.header_limit(static_cast<uint32_t>(limits_.max_head_bytes));
  parser.body_limit(limits_.max_body_bytes);
  while (!parser.is_header_done()) {
    error_code ec;
    const size_t used = parser.put(asio::buffer(in_.data() + in_begin_, in_.size() - in_begin_), ec);
    in_begin_ += used;
    if (ec == http::error::need_more) {
      const bool more = co_await fill();
      if (more) continue;
      head.fault = timed_out_ ? HttpFault{408, "the request's head did not arrive in time"}
                              : HttpFault{400, "the connection ended within the request's head"};
      co_return head;
    }
    if (ec) {
      head.fault = fault_of(ec);
      co_return head;
    }
  }
  const auto& message = parser.get();
  HttpRequest request;
  request.method = std::string(message.method_string());
  const auto target = message.target();
  const size_t question = std::min(target.find('?'), target.size());
  request.path.assign(target.data(), question);
  if (question < target.size()) request.query.assign(target.data() + question + 1, target.size() - question - 1);
  for (const auto& field : message) {
    request.headers.emplace_back(to_lower({field.name_string().data(), field.name_string().size()}),
                                 std::string(field.value().data(), field.value().size()));
  }
  request.client = client_;
  request.http10 = message.version() < 11;
  request.keep_alive = parser.keep_alive();
  if (const auto length = parser.content_length()) request.content_length = *length;
  request.has_body = parser.chunked() || request.content_length.value_or(0) > 0;
  body_left_ = parser.chunked() ? std::nullopt : std::optional<uint64_t>(request.content_length.value_or(0));
  request.arrival_ns = arrival_ns;
  if (!request.header("transfer-encoding").empty() && !parser.chunked()) {
    // Where the body ends would be anybody's guess, and a proxy's may differ from ours.
    head.fault = HttpFault{400, "the transfer-encoding is not supported; chunked is"};
    co_return head;
  }
  wants_continue_ = request.has_body && equals_ignoring_case(request.header("expect"), "100-continue");
  body_begin_ns_ = clock_.now_ns();
  body_bytes_ = 0;
  phase_ = Phase::kWork;
  read_deadline_ns_ = INT64_MAX;
  head.request = std::move(request);
  co_return head;
}

bool Connection::body_done() const {
  if (body_left_) return *body_left_ == 0;
  return parser_ == nullptr || parser_->http.is_done();
}

Task<Connection::Piece> Connection::read_body() {
  Piece piece;
  if (body_done()) {
    body_piece_ = {};
    co_return piece;
  }
  if (std::exchange(wants_continue_, false)) write("HTTP/1.1 100 Continue\r\n\r\n", false);
  phase_ = Phase::kBody;
  if (body_left_) {
    piece = co_await read_counted();
    phase_ = Phase::kWork;
    read_deadline_ns_ = INT64_MAX;
    co_return piece;
  }
  auto& parser = parser_->http;
  // Big buffers for pictures only: clearing them would cost more than a short question's whole reception.
  const bool big = !parser.content_length() || *parser.content_length() > kFillBytes;
  if (body_piece_.empty()) body_piece_.resize(big ? kBodyFillBytes : kFillBytes);
  if (big && !filling_ && fill_buffer_.size() < kBodyFillBytes) fill_buffer_.resize(kBodyFillBytes);
  while (!parser.is_done()) {
    auto& body = parser.get().body();
    body.data = body_piece_.data();
    body.size = body_piece_.size();
    body.more = true;
    error_code ec;
    const size_t used = parser.put(asio::buffer(in_.data() + in_begin_, in_.size() - in_begin_), ec);
    in_begin_ += used;
    const size_t got = body_piece_.size() - body.size;
    body_bytes_ += got;
    if (got > 0) {
      piece.bytes = std::string_view(body_piece_).substr(0, got);
      break;
    }
    if (ec && ec != http::error::need_more && ec != http::error::need_buffer) {
      piece.fault = fault_of(ec);
      break;
    }
    if (parser.is_done() || used > 0) continue;
    expect_more_body();
    const bool more = co_await fill();
    if (more) continue;  // what lies there unparsed is of no use without what would have followed
    piece.fault = broken_body();
    break;
  }
  if (parser.is_done() && piece.bytes.empty()) {
    if (body_piece_.size() > kFillBytes) body_piece_ = {};
    if (!filling_ && fill_buffer_.size() > kFillBytes) {
      fill_buffer_ = {};
      fill_buffer_.resize(kFillBytes);
    }
  }
  phase_ = Phase::kWork;
  read_deadline_ns_ = INT64_MAX;
  co_return piece;
}

// What came with the head, then what the socket gives, without a copy in between.
Task<Connection::Piece> Connection::read_counted() {
  Piece piece;
  if (in_begin_ == in_.size() && filling_) {  // a read that watch() has begun: what it brings comes first
    expect_more_body();
    co_await fill();
  }
  if (in_begin_ < in_.size()) {
    piece.bytes = std::string_view(in_).substr(in_begin_, *body_left_);
    in_begin_ += piece.bytes.size();
  } else {
    const size_t wanted = std::min<uint64_t>(*body_left_, kBodyFillBytes);
    if (body_piece_.size() < wanted) body_piece_.resize(wanted);
    expect_more_body();
    const size_t got = co_await fill_piece(wanted);
    if (got == 0) piece.fault = broken_body();
    piece.bytes = std::string_view(body_piece_).substr(0, got);
  }
  *body_left_ -= piece.bytes.size();
  body_bytes_ += piece.bytes.size();
  co_return piece;
}

void Connection::expect_more_body() {
  expect_within(limits_.body_timeout_ms + static_cast<int64_t>(body_bytes_) * 1000 / kBodyBytesPerSecond -
                (clock_.now_ns() - body_begin_ns_) / 1'000'000);
}

HttpFault Connection::broken_body() const {
  return timed_out_ ? HttpFault{408, "the request's body did not arrive in time"}
                    : HttpFault{400, "the connection ended within the request's body"};
}

void Connection::watch(std::function<void()> gone) {
  if (read_failed_ || broken_) {
    asio::post(stream_.get_executor(), std::move(gone));
    return;
  }
  gone_ = std::move(gone);
  if (in_.size() - in_begin_ < limits_.max_pipelined_bytes) start_fill();
}

// Writing -------------------------------------------------------------------------------------------------------------

bool Connection::write(std::string_view bytes, bool bounded) {
  if (broken_) return false;
  if (!write_active_ && stream_.tls() == nullptr) {
    const ssize_t sent =
        ::send(stream_.socket().native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) bytes.remove_prefix(static_cast<size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      break_off();
      return false;
    }
    if (bytes.empty()) return true;
  }
  if (bounded && pending_bytes() + bytes.size() > limits_.max_pending_bytes) return false;
  pending_.append(bytes);
  if (!write_active_) start_write();
  return true;
}

void Connection::start_write() {
  if (written_ == writing_.size()) {
    writing_.clear();
    std::swap(writing_, pending_);
    written_ = 0;
    if (writing_.empty()) {
      write_active_ = false;
      write_deadline_ns_ = INT64_MAX;
      flushed_.cancel();
      return;
    }
  }
  write_active_ = true;
  write_deadline_ns_ = clock_.now_ns() + limits_.write_timeout_ms * 1'000'000;
  stream_.async_write_some(asio::buffer(writing_.data() + written_, writing_.size() - written_),
                           [self = shared_from_this()](error_code ec, size_t bytes) {
                             self->written_ += bytes;
                             if (ec || self->broken_) {
                               self->write_active_ = false;
                               self->break_off();
                             } else {
                               self->start_write();
                             }
                           });
}

Task<void> Connection::flush() {
  while (write_active_ && !broken_) {
    error_code ignored;
    co_await flushed_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
}

void Connection::break_off() {
  if (broken_) return;
  broken_ = true;
  read_failed_ = true;
  stream_.close();
  flushed_.cancel();
  filled_.cancel();
  if (gone_) asio::post(stream_.get_executor(), std::exchange(gone_, nullptr));
}

void Connection::close() {
  gone_ = nullptr;
  break_off();
}

Task<void> Connection::linger() {
  co_await flush();
  if (broken_) co_return;
  error_code ignored;
  stream_.socket().shutdown(AnyStream::Socket::shutdown_send, ignored);
  expect_within(2000);
  phase_ = Phase::kBody;
  timed_out_ = false;
  for (size_t dropped = 0; dropped < kLingerBytes && !timed_out_ && !broken_;) {
    dropped += in_.size() - in_begin_;
    in_begin_ = in_.size();
    const bool more = co_await fill();
    if (!more) break;
  }
  close();
}

// Time ----------------------------------------------------------------------------------------------------------------

void Connection::expect_within(int64_t ms) {
  read_deadline_ns_ = clock_.now_ns() + ms * 1'000'000;
}

void Connection::set_deadline(int64_t deadline_ns) {
  read_deadline_ns_ = deadline_ns;
}

void Connection::check_deadline(int64_t now_ns) {
  if (broken_) return;
  if (now_ns > write_deadline_ns_) {
    break_off();
  } else if (now_ns > read_deadline_ns_) {
    read_deadline_ns_ = INT64_MAX;
    if (phase_ == Phase::kHead || phase_ == Phase::kBody) {
      // The reading coroutine sees the failed read, answers 408 and closes.
      timed_out_ = true;
      read_failed_ = true;
      error_code ignored;
      stream_.socket().cancel(ignored);
    } else {
      break_off();
    }
  }
}

Task<bool> send_response(Connection& connection, const HttpRequest& request, const HttpResponse& response,
                         bool keep_alive) {
  keep_alive = keep_alive && connection.body_done();
  std::string bytes = format_head(response, request, response.body.size(), keep_alive);
  if (request.method != "HEAD") bytes += response.body;
  connection.write(bytes, false);
  co_await connection.flush();
  if (!keep_alive && !connection.broken()) co_await connection.linger();
  co_return keep_alive && !connection.broken();
}

}  // namespace glimpse
