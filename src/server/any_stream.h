#pragma once

// A connected byte stream: TCP or a Unix socket, with or without TLS, behind one type, so that what reads and writes is
// compiled once. Meets Beast's AsyncStream.

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <memory>

#include "server/asio.h"

namespace glimpse {

class AnyStream {
 public:
  using Socket = asio::generic::stream_protocol::socket;
  using Tls = asio::ssl::stream<Socket&>;
  using executor_type = Socket::executor_type;

  explicit AnyStream(Socket socket) : socket_(std::make_unique<Socket>(std::move(socket))) {}

  // From here on everything goes through TLS; the handshake is still to be done.
  void start_tls(asio::ssl::context& context) { tls_ = std::make_unique<Tls>(*socket_, context); }

  executor_type get_executor() { return socket_->get_executor(); }
  Socket& socket() { return *socket_; }
  Tls* tls() { return tls_.get(); }

  template <typename Buffers, typename Token>
  auto async_read_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_read_some(buffers, std::forward<Token>(token));
    return socket_->async_read_some(buffers, std::forward<Token>(token));
  }
  template <typename Buffers, typename Token>
  auto async_write_some(const Buffers& buffers, Token&& token) {
    if (tls_) return tls_->async_write_some(buffers, std::forward<Token>(token));
    return socket_->async_write_some(buffers, std::forward<Token>(token));
  }

  // Operations in flight end with an error.
  void close() {
    error_code ignored;
    socket_->shutdown(Socket::shutdown_both, ignored);
    socket_->close(ignored);
  }

 private:
  std::unique_ptr<Socket> socket_;  // at a fixed address: TLS refers to it
  std::unique_ptr<Tls> tls_;
};

}  // namespace glimpse
