#pragma once

// One WebSocket (RFC 6455) over a connection that asked for it. Beast's part is in the .cc file.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "server/connection.h"

namespace glimpse {

struct WebSocketLimits {
  size_t max_message_bytes = size_t{64} << 20;
  size_t max_pending_bytes = size_t{1} << 20;  // that the client has not read
  int64_t idle_timeout_ms = 60'000;            // without a frame or a pong; pings are sent at half of it
};

class WebSocketStream {
 public:
  // The head has been read and nothing behind it. `protocol`: the subprotocol to answer with, may be empty.
  static Task<std::shared_ptr<WebSocketStream>> accept(Connection& connection, const HttpRequest& request,
                                                       const std::string& protocol, const WebSocketLimits& limits);
  virtual ~WebSocketStream() = default;

  struct Message {
    std::string_view bytes;  // valid until the next read
    bool binary = false;
    bool last = true;  // false: a binary message goes on with the next piece (texts come whole)
  };
  // Nothing: the stream has ended, in order or not.
  virtual Task<std::optional<Message>> read() = 0;
  // Queues a text frame. False: the stream is broken, or the client does not read.
  virtual bool write(std::string text) = 0;
  // So much waits to be written that more had better come in fewer pieces.
  virtual bool congested() const = 0;
  // Begins the closing handshake. 1000: done; 1001: going away; 1008: policy; 1011: internal.
  virtual void close(uint16_t code, std::string_view reason) = 0;
};

}  // namespace glimpse
