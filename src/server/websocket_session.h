#pragma once

// What is said over one WebSocket (docs/websocket.md): pictures in, questions in, answers out, several at once.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "server/service.h"
#include "server/upload.h"
#include "server/websocket_stream.h"

namespace glimpse {

class WebSocketSession final : public std::enable_shared_from_this<WebSocketSession> {
 public:
  WebSocketSession(Service& service, std::shared_ptr<WebSocketStream> stream, std::string owner, std::string client);

  // Until the stream ends; then whatever it asked for is cancelled.
  Task<void> run();
  // Takes nothing new, ends when the last answer has.
  void drain();

 private:
  struct Incoming;  // a picture that was announced and is arriving
  class Sink;

  void on_text(std::string_view text, int64_t arrival_ns);
  void on_binary(std::string_view bytes, bool last);
  ApiStatus on_message(const json::object& message, int64_t arrival_ns);
  ApiStatus announce_picture(const json::object& message);
  void picture_complete();
  Task<void> chat(std::string id, std::shared_ptr<Generation> job);
  Task<void> draft(std::string id, std::shared_ptr<Generation> job);
  ApiResult<std::shared_ptr<Generation>> start(const json::object& message, const std::string& id, int64_t arrival_ns);
  void finished(const std::string& id);

  // Adds "server_ms" and sends it.
  void send(json::object message);
  void send_error(const std::string& id, const ApiError& error);

  Service& service_;
  const std::shared_ptr<WebSocketStream> stream_;
  const std::string owner_;
  const std::string client_;
  std::deque<std::unique_ptr<Incoming>> incoming_;              // in the order of their binary messages
  Attachments pictures_;                                        // by the client's names
  std::deque<std::string> picture_ages_;                        // oldest first
  std::map<std::string, std::shared_ptr<Generation>> running_;  // by the client's ids
  bool draining_ = false;
};

}  // namespace glimpse
