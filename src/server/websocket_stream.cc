#include "server/websocket_stream.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/rfc6455.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <deque>

// How Beast ends a byte stream of our type: no closing handshake below the WebSocket's own.
namespace glimpse {
template <typename Handler>
void async_teardown(boost::beast::role_type, AnyStream& stream, Handler&& handler) {
  stream.close();
  asio::post(stream.get_executor(), [handler = std::forward<Handler>(handler)]() mutable { handler(error_code()); });
}
inline void beast_close_socket(AnyStream& stream) {
  stream.close();
}
inline void teardown(boost::beast::role_type, AnyStream& stream, error_code& ec) {
  stream.close();
  ec = {};
}
}  // namespace glimpse

namespace glimpse {

namespace {

namespace beast = boost::beast;
namespace websocket = beast::websocket;

constexpr size_t kReadBytes = size_t{256} << 10;

class BeastWebSocket final : public WebSocketStream, public std::enable_shared_from_this<BeastWebSocket> {
 public:
  BeastWebSocket(Connection& connection, const WebSocketLimits& limits)
      : connection_(connection.shared_from_this()), ws_(connection.stream()), limits_(limits) {}

  Task<bool> handshake(const HttpRequest& request, const std::string& protocol) {
    beast::http::request<beast::http::empty_body> upgrade{beast::http::verb::get, request.path, 11};
    for (const auto& [name, value] : request.headers) upgrade.insert(name, value);
    ws_.read_message_max(limits_.max_message_bytes);
    websocket::stream_base::timeout timeout = websocket::stream_base::timeout::suggested(beast::role_type::server);
    timeout.idle_timeout = std::chrono::milliseconds(limits_.idle_timeout_ms);
    timeout.keep_alive_pings = true;
    ws_.set_option(timeout);
    ws_.set_option(websocket::stream_base::decorator([&request, protocol](websocket::response_type& response) {
      response.set("x-request-id", request.id);
      if (!protocol.empty()) response.set("sec-websocket-protocol", protocol);
    }));
    ws_.auto_fragment(false);
    error_code ec;
    co_await ws_.async_accept(upgrade, asio::redirect_error(asio::use_awaitable, ec));
    co_return !ec;
  }

  Task<std::optional<Message>> read() override {
    buffer_.consume(buffer_.size());
    for (;;) {
      error_code ec;
      co_await ws_.async_read_some(buffer_, kReadBytes, asio::redirect_error(asio::use_awaitable, ec));
      if (ec) {
        broken_ = true;
        co_return std::nullopt;
      }
      const bool done = ws_.is_message_done();
      const bool binary = ws_.got_binary();
      if (!done && !binary) continue;  // a text is read whole
      if (buffer_.size() == 0 && !done) continue;
      const auto bytes = buffer_.cdata();
      co_return Message{{static_cast<const char*>(bytes.data()), bytes.size()}, binary, done};
    }
  }

  bool write(std::string text) override {
    if (broken_ || closing_) return false;
    pending_bytes_ += text.size();
    if (pending_bytes_ > limits_.max_pending_bytes) {
      broken_ = true;
      connection_->close();
      return false;
    }
    pending_.push_back(std::move(text));
    if (!writing_) start_write();
    return true;
  }

  bool congested() const override { return pending_bytes_ > limits_.max_pending_bytes / 16; }

  void close(uint16_t code, std::string_view reason) override {
    if (broken_ || closing_) return;
    closing_ = true;
    reason_ = websocket::close_reason(static_cast<websocket::close_code>(code),
                                      beast::string_view(reason.data(), std::min<size_t>(reason.size(), 120)));
    if (!writing_) start_close();
  }

 private:
  void start_write() {
    if (pending_.empty()) {
      writing_ = false;
      if (closing_) start_close();
      return;
    }
    writing_ = true;
    ws_.text(true);
    ws_.async_write(asio::buffer(pending_.front()), [self = shared_from_this()](error_code ec, size_t) {
      self->pending_bytes_ -= self->pending_.front().size();
      self->pending_.pop_front();
      if (ec) {
        self->broken_ = true;
        self->writing_ = false;
        self->connection_->close();
        return;
      }
      self->start_write();
    });
  }

  void start_close() {
    ws_.async_close(reason_, [self = shared_from_this()](error_code) { self->connection_->close(); });
  }

  const std::shared_ptr<Connection> connection_;
  websocket::stream<AnyStream&> ws_;
  const WebSocketLimits limits_;
  beast::flat_buffer buffer_;
  std::deque<std::string> pending_;
  size_t pending_bytes_ = 0;
  bool writing_ = false;
  bool broken_ = false;
  bool closing_ = false;
  websocket::close_reason reason_;
};

}  // namespace

Task<std::shared_ptr<WebSocketStream>> WebSocketStream::accept(Connection& connection, const HttpRequest& request,
                                                               const std::string& protocol,
                                                               const WebSocketLimits& limits) {
  connection.set_deadline(INT64_MAX);  // Beast's timer watches from here on
  auto stream = std::make_shared<BeastWebSocket>(connection, limits);
  const bool accepted = co_await stream->handshake(request, protocol);
  if (!accepted) co_return nullptr;
  co_return stream;
}

}  // namespace glimpse
