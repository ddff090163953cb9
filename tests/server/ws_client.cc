#include "tests/server/ws_client.h"

namespace glimpse {

WsClient::WsClient(uint16_t port, const std::vector<std::string>& headers) : client_(port) {
  std::vector<std::string> all = {"upgrade: websocket", "connection: Upgrade", "sec-websocket-version: 13",
                                  "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="};
  all.insert(all.end(), headers.begin(), headers.end());
  client_.send(wire("GET", "/v1/chat/ws", "", all));
  handshake_ = client_.reply(true);
}

void WsClient::send_frame(uint8_t opcode, std::string_view payload, bool masked) {
  std::string frame(1, static_cast<char>(0x80 | opcode));
  const uint8_t mask_bit = masked ? 0x80 : 0;
  if (payload.size() < 126) {
    frame += static_cast<char>(mask_bit | payload.size());
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(mask_bit | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size());
  } else {
    frame += static_cast<char>(mask_bit | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>(uint64_t{payload.size()} >> shift);
  }
  const char mask[4] = {0x12, 0x34, 0x56, 0x78};
  if (masked) frame.append(mask, 4);
  for (size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(masked ? payload[i] ^ mask[i % 4] : payload[i]);
  }
  client_.send(frame);
}

bool WsClient::need(size_t bytes) {
  while (buffer_.size() < bytes) {
    const std::string more = client_.receive();
    if (more.empty()) return false;
    buffer_ += more;
  }
  return true;
}

json::value WsClient::receive() {
  for (;;) {
    if (!need(2)) return nullptr;
    const auto opcode = static_cast<uint8_t>(buffer_[0] & 0x0f);
    size_t size = static_cast<uint8_t>(buffer_[1]) & 0x7f;
    size_t head = 2;
    const size_t wide = size == 126 ? 2 : size == 127 ? 8 : 0;
    if (wide > 0) {
      if (!need(2 + wide)) return nullptr;
      size = 0;
      for (size_t i = 0; i < wide; ++i) size = size << 8 | static_cast<uint8_t>(buffer_[2 + i]);
      head += wide;
    }
    if (!need(head + size)) return nullptr;
    const std::string payload = buffer_.substr(head, size);
    buffer_.erase(0, head + size);
    if (opcode == 0x9) {
      send_frame(0xa, payload);
    } else if (opcode == 0x8) {
      if (payload.size() >= 2) {
        close_code_ = static_cast<uint16_t>(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]));
      }
      return nullptr;
    } else if (opcode == 0x1) {
      auto value = parse_json(payload);
      return value ? *std::move(value) : json::value();
    }
  }
}

json::object WsClient::receive_type(std::string_view type) {
  for (;;) {
    const json::value message = receive();
    if (!message.is_object()) return {};
    if (message.at("type").as_string() == type) return message.get_object();
  }
}

}  // namespace glimpse
