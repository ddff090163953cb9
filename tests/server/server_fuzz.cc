// The server's entry: bytes as HTTP, as the JSON of each POST route, as an upload, as WebSocket frames. The server runs
// in this process with small limits; the input's first byte chooses the door. A crash, a sanitizer's finding or a
// server that does not answer afterwards is a failure.

#include <cstdlib>

#include "base/check.h"
#include "tests/server/ws_client.h"

namespace glimpse {
namespace {

Rig& rig() {
  static Rig the_rig([] {
    RigOptions options;
    options.server.connection.head_timeout_ms = 200;
    options.server.connection.body_timeout_ms = 200;
    options.server.connection.idle_timeout_ms = 200;
    options.server.connection.max_body_bytes = 1 << 20;
    options.server.prefill_follow_ups = false;
    options.engine.vision_ms = 0;
    return options;
  }());
  return the_rig;
}

void send_and_read(std::string_view bytes) {
  Client client(rig().port());
  client.send(bytes);
  client.shutdown_send();
  while (!client.receive().empty()) {
  }
}

void run(std::string_view input) {
  static int runs = 0;
  if (input.empty()) return;
  const auto door = static_cast<uint8_t>(input[0]);
  input.remove_prefix(1);
  constexpr const char* kRoutes[] = {"/v1/chat/completions", "/v1/completions", "/v1/chat/drafts", "/tokenize",
                                     "/detokenize"};
  switch (door % 8) {
    case 0:
      send_and_read(input);
      break;
    case 1:
      send_and_read(wire("POST", "/v1/files", input, {"content-type: image/png"}));
      break;
    case 2:
      send_and_read(wire("POST", "/v1/chat/completions", input, {"content-type: multipart/form-data; boundary=b"}));
      break;
    case 3: {
      WsClient client(rig().port());
      client.send_bytes(input);
      client.close();
      break;
    }
    case 4: {
      WsClient client(rig().port());
      client.send_raw_text(input);
      client.send_binary(input);
      client.close();
      break;
    }
    default:
      send_and_read(wire("POST", kRoutes[door / 8 % 5], input, {"content-type: application/json"}));
  }
  if (++runs % 64 == 0) CHECK(request(rig().port(), "GET", "/healthz").status == 200);
}

}  // namespace
}  // namespace glimpse

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  glimpse::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
