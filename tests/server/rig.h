#pragma once

// The server in this process on a free port, over a scripted engine, and a client that sends exactly the bytes it is
// told to.

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/model.h"
#include "base/json.h"
#include "server/asio.h"
#include "server/http_server.h"
#include "server/server.h"
#include "server/traces.h"
#include "tests/support/scripted_engine.h"

namespace glimpse {

// glimpse-mini's files, opened once for the whole test program.
const ModelSource& mini_source();

struct RigOptions {
  ServerOptions server;
  ScriptedEngineOptions engine;
  std::string script = R"([{"text": "Hello there."}])";  // tests/server/script_file.h
};

class Rig {
 public:
  explicit Rig(RigOptions options = {});
  ~Rig();

  uint16_t port() const { return http_->port(); }
  ScriptedEngine& engine() { return *engine_; }
  // Runs on the I/O thread and waits.
  void drain();
  bool drained() const { return drained_; }

 private:
  RigOptions options_;
  SteadyClock clock_;
  StepRing steps_;
  std::unique_ptr<ScriptedEngine> engine_;
  std::unique_ptr<ApiModel> model_;
  asio::io_context io_{1};
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Server> server_;
  std::atomic<bool> drained_{false};
  std::thread thread_;
};

struct Reply {
  int status = 0;                                            // 0: the connection ended without one
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;

  std::string header(std::string_view name) const;
  json::value json() const;  // null when the body is none
  // error.message, "" when there is none.
  std::string error_message() const;
};

// A TCP connection. Blocking; reads give up after ten seconds.
class Client {
 public:
  // `receive_buffer`: bytes that the kernel may keep; 0: its own choice.
  explicit Client(uint16_t port, int receive_buffer = 0);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void send(std::string_view bytes);
  void shutdown_send();
  // Whatever comes next; empty at the end of the stream.
  std::string receive();
  // Whole answers: content-length, chunked, or until the end. Interim 1xx answers are skipped.
  Reply reply(bool head_only = false);
  void close();

 private:
  bool fill();
  int socket_ = -1;
  std::string buffer_;
};

// One request on a connection of its own.
Reply request(uint16_t port, std::string_view method, std::string_view path, std::string_view body = {},
              const std::vector<std::string>& headers = {});
Reply post_json(uint16_t port, std::string_view path, const json::value& body,
                const std::vector<std::string>& headers = {});
// A chat request's bytes on the wire.
std::string wire(std::string_view method, std::string_view path, std::string_view body,
                 const std::vector<std::string>& headers = {});
// The JSON of each "data: " line; [DONE] as a string.
std::vector<json::value> events_of(std::string_view body);

json::object chat_body(std::string_view text, bool stream = false);
// A chat about a picture, as a data URL.
json::object picture_chat_body(std::string_view picture_bytes, std::string_view text);
std::string base64(std::string_view bytes);
// A sample picture of glimpse-mini (PNG).
std::string sample_png();
// Waits up to five seconds.
bool eventually(const std::function<bool()>& condition);

}  // namespace glimpse
