#pragma once

// The client's half of a WebSocket, frame by frame, for tests.

#include <optional>
#include <string>
#include <string_view>

#include "tests/server/rig.h"

namespace glimpse {

class WsClient {
 public:
  // Upgrades /v1/chat/ws; status() tells how that went.
  explicit WsClient(uint16_t port, const std::vector<std::string>& headers = {});

  int status() const { return handshake_.status; }
  const Reply& handshake() const { return handshake_; }
  void send_text(const json::value& message) { send_frame(0x1, json::serialize(message)); }
  void send_raw_text(std::string_view text) { send_frame(0x1, text); }
  void send_binary(std::string_view bytes) { send_frame(0x2, bytes); }
  void send_frame(uint8_t opcode, std::string_view payload, bool masked = true);
  void send_bytes(std::string_view bytes) { client_.send(bytes); }
  // The next text frame as JSON; null at the end of the stream. Pings are answered.
  json::value receive();
  // Skips frames until one of this type comes; null if none does.
  json::object receive_type(std::string_view type);
  uint16_t close_code() const { return close_code_; }
  void close() { client_.close(); }

 private:
  bool need(size_t bytes);
  Client client_;
  Reply handshake_;
  std::string buffer_;
  uint16_t close_code_ = 0;
};

}  // namespace glimpse
