#include <gtest/gtest.h>

#include <set>

#include "tests/server/ws_client.h"

namespace glimpse {
namespace {

json::object chat_message(std::string_view id, const json::object& request) {
  return {{"type", "chat"}, {"id", id}, {"request", request}};
}

// A chat about a picture of this connection.
json::object file_chat_body(std::string_view file_id, bool stream) {
  json::array content = {json::object{{"type", "file"}, {"file", json::object{{"file_id", file_id}}}},
                         json::object{{"type", "text"}, {"text", "what?"}}};
  return {{"messages", json::array{json::object{{"role", "user"}, {"content", std::move(content)}}}},
          {"stream", stream}};
}

TEST(WebSocket, GreetsAndKeepsTime) {
  const Rig rig;
  WsClient client(rig.port());
  ASSERT_EQ(client.status(), 101);
  EXPECT_EQ(client.handshake().header("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  const json::object hello = client.receive_type("hello");
  EXPECT_EQ(hello.at("models").at(0), "mini");
  client.send_text(json::object{{"type", "clock"}, {"t0", 12.5}});
  const json::object clock = client.receive_type("clock");
  EXPECT_EQ(clock.at("t0"), 12.5);
  EXPECT_GT(clock.at("server_ms").to_number<double>(), 0);
}

TEST(WebSocket, StreamsAnAnswer) {
  const Rig rig;
  WsClient client(rig.port());
  client.send_text(chat_message("a", chat_body("hi", true)));
  std::string text;
  for (;;) {
    const json::value message = client.receive();
    ASSERT_TRUE(message.is_object());
    if (message.at("type") == "chat.done") break;
    if (message.at("type") != "chat.chunk") continue;
    EXPECT_EQ(message.at("id"), "a");
    const json::object& delta = message.at("data").at("choices").at(0).at("delta").as_object();
    if (const json::value* content = find(delta, "content")) text += content->as_string();
  }
  EXPECT_EQ(text, "Hello there.");
}

TEST(WebSocket, APictureInPiecesThenAQuestion) {
  Rig rig;
  WsClient client(rig.port());
  const std::string png = sample_png();
  client.send_text(json::object{{"type", "image"}, {"id", "p"}, {"size", png.size()}});
  client.send_binary(std::string_view(png).substr(0, 1000));
  client.send_text(json::object{{"type", "ping"}});  // goes in between
  client.send_binary(std::string_view(png).substr(1000));
  const json::object received = client.receive_type("image.received");
  EXPECT_EQ(received.at("bytes"), png.size());
  EXPECT_EQ(received.at("width"), 224);
  EXPECT_FALSE(client.receive_type("image.decoded").empty());
  EXPECT_FALSE(client.receive_type("image.encoded").empty());
  client.send_text(chat_message("q", file_chat_body("p", false)));
  const json::object response = client.receive_type("chat.response");
  ASSERT_FALSE(response.empty());
  const json::value& latency = response.at("data").at("latency");
  EXPECT_EQ(latency.at("image_cache_hits"), 1);
  bool early = false;
  for (const json::value& span : latency.at("spans").as_array()) {
    if (span.at("name") == "decode_image") early = span.at("start_ms").to_number<double>() < 0;
  }
  EXPECT_TRUE(early) << "decoding came before the question: " << json::serialize(latency);
  // The same file over HTTP.
  const std::string id(received.at("file_id").as_string());
  EXPECT_EQ(request(rig.port(), "GET", "/v1/files/" + id).status, 200);
  EXPECT_EQ(rig.engine().stats().images_encoded, 1);
}

TEST(WebSocket, SeveralRequestsInterleave) {
  RigOptions options;
  options.script = R"([{"text": "one two three four five six", "per_token_ms": 5}])";
  const Rig rig(options);
  WsClient client(rig.port());
  for (const char* id : {"a", "b", "c"}) client.send_text(chat_message(id, chat_body("hi", true)));
  std::set<std::string> done;
  std::string order;
  while (done.size() < 3) {
    const json::value message = client.receive();
    ASSERT_TRUE(message.is_object());
    if (message.at("type") == "chat.chunk") order += message.at("id").as_string();
    if (message.at("type") == "chat.done") done.emplace(message.at("id").as_string());
  }
  EXPECT_NE(order.find("ab"), std::string::npos) << order;
}

TEST(WebSocket, CancelEndsOneAndKeepsTheOther) {
  RigOptions options;
  options.script = R"([{"text": "word ", "repeat": 1000, "per_token_ms": 20}])";
  Rig rig(options);
  WsClient client(rig.port());
  client.send_text(chat_message("a", chat_body("hi", true)));
  client.send_text(chat_message("b", chat_body("hi", true)));
  client.receive_type("chat.chunk");
  client.send_text(json::object{{"type", "cancel"}, {"id", "a"}});
  const json::object done = client.receive_type("chat.done");
  EXPECT_EQ(done.at("id"), "a");
  EXPECT_EQ(done.at("cancelled"), true);
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 1; }));
  EXPECT_EQ(client.receive_type("chat.chunk").at("id"), "b");
  client.close();
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 2; }));
}

TEST(WebSocket, DraftsComputeThePrefix) {
  Rig rig;
  WsClient client(rig.port());
  const std::string typed = "Tell me everything that you know about the history of lighthouses in the north and ";
  client.send_text(json::object{{"type", "draft"}, {"id", "d"}, {"request", chat_body(typed)}});
  const json::object done = client.receive_type("draft.done");
  EXPECT_EQ(done.at("status"), "computed");
  EXPECT_GT(done.at("prompt_tokens").to_number<int>(), 16);
  client.send_text(chat_message("q", chat_body(typed + "the south.")));
  const json::object response = client.receive_type("chat.response");
  const json::value& details = response.at("data").at("usage").at("prompt_tokens_details");
  EXPECT_GE(details.at("cached_tokens").to_number<int>(), done.at("prompt_tokens").to_number<int>() / 16 * 16 - 16);
}

TEST(WebSocket, BadMessagesGetErrorsAndTheConnectionGoesOn) {
  const Rig rig;
  WsClient client(rig.port());
  client.receive_type("hello");
  for (const std::string& text :
       {std::string("no json"), std::string("[]"), std::string("{}"), std::string(R"({"type":"nothing","id":"a"})"),
        std::string(R"({"type":"chat"})"), std::string(R"({"type":"chat","id":"a"})"),
        std::string(R"({"type":"chat","id":"a","request":[]})"),
        std::string(R"({"type":"chat","id":"a","request":{}})"), std::string(R"({"type":"image","id":"a","size":-1})"),
        std::string(R"({"type":"image","id":"a","size":1e300})"), std::string(R"({"type":7})"),
        std::string(20'000, '[')}) {
    client.send_raw_text(text);
    const json::object error = client.receive_type("error");
    ASSERT_FALSE(error.empty()) << text;
    EXPECT_TRUE(error.at("error").as_object().contains("message")) << text;
  }
  client.send_binary("nobody announced this");
  EXPECT_FALSE(client.receive_type("error").empty());
  client.send_text(json::object{{"type", "image"}, {"id", "x"}, {"size", 4}});
  client.send_binary("abcdefgh");
  EXPECT_EQ(client.receive_type("image.failed").at("id"), "x");
  client.send_text(json::object{{"type", "image"}, {"id", "y"}, {"size", 4}});
  client.send_binary("abcd");
  EXPECT_EQ(client.receive_type("image.failed").at("id"), "y");
  client.send_text(json::object{{"type", "ping"}});
  EXPECT_FALSE(client.receive_type("pong").empty());
}

TEST(WebSocket, BrokenFramesEndTheConnectionOnly) {
  const Rig rig;
  {
    WsClient client(rig.port());
    client.receive_type("hello");
    client.send_frame(0x1, "unmasked", false);
    EXPECT_TRUE(client.receive().is_null());
  }
  {
    WsClient client(rig.port());
    client.receive_type("hello");
    client.send_bytes(std::string("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12));
    EXPECT_TRUE(client.receive().is_null());
  }
  {
    WsClient client(rig.port());
    client.receive_type("hello");
    client.send_raw_text("\xff\xfe");  // no UTF-8
    EXPECT_TRUE(client.receive().is_null());
  }
  EXPECT_EQ(request(rig.port(), "GET", "/healthz").status, 200);
}

TEST(WebSocket, NeedsTheKeyAndTheRightOrigin) {
  RigOptions options;
  options.server.api_keys = {"secret"};
  const Rig rig(options);
  EXPECT_EQ(WsClient(rig.port()).status(), 401);
  EXPECT_EQ(WsClient(rig.port(), {"authorization: Bearer secret"}).status(), 101);
  const WsClient browser(rig.port(), {"sec-websocket-protocol: glimpse.v1, glimpse-key.secret", "origin: http://evil"});
  EXPECT_EQ(browser.status(), 101);
  EXPECT_EQ(browser.handshake().header("sec-websocket-protocol"), "glimpse.v1");
  RigOptions awkward;
  awkward.server.api_keys = {"a key/of = ключ?"};
  const Rig guarded(awkward);
  const auto offered = [&](const std::string& protocol) {
    return WsClient(guarded.port(), {"sec-websocket-protocol: glimpse.v1, " + protocol}).status();
  };
  EXPECT_EQ(offered("glimpse-key64.YSBrZXkvb2YgPSDQutC70Y7Rhz8"), 101);
  EXPECT_EQ(offered("glimpse-key64.YSBrZXkvb2YgPSDQutC70Y7Rhz7"), 401);
  EXPECT_EQ(offered("glimpse-key64.!"), 401);
  const Rig open;
  EXPECT_EQ(WsClient(open.port(), {"origin: http://evil.example"}).status(), 403);
  EXPECT_EQ(WsClient(open.port(), {"origin: http://localhost"}).status(), 101);
  EXPECT_EQ(request(open.port(), "GET", "/v1/chat/ws").status, 426);
}

TEST(WebSocket, DrainFinishesWhatRuns) {
  RigOptions options;
  options.script = R"([{"text": "one two three", "per_token_ms": 50}])";
  Rig rig(options);
  WsClient client(rig.port());
  client.send_text(chat_message("a", chat_body("hi", true)));
  client.receive_type("chat.chunk");
  rig.drain();
  client.send_text(chat_message("b", chat_body("hi", true)));
  EXPECT_EQ(client.receive_type("error").at("status"), 503);
  EXPECT_EQ(client.receive_type("chat.done").at("id"), "a");
  EXPECT_TRUE(client.receive().is_null());
  EXPECT_EQ(client.close_code(), 1001);
}

}  // namespace
}  // namespace glimpse
