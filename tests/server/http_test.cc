// Hostile and unusual HTTP: each gets its 4xx with an OpenAI error body, and the server answers the next request.

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/server/rig.h"

namespace glimpse {
namespace {

void expect_error(const Reply& reply, int status, const std::string& what) {
  EXPECT_EQ(reply.status, status) << what << ": " << reply.body;
  EXPECT_EQ(reply.header("content-type"), "application/json") << what;
  EXPECT_FALSE(reply.error_message().empty()) << what << ": " << reply.body;
  // Nothing of the process's insides in the text.
  for (const char* leak : {"0x", "/src/", "/home/", ".cc:", "boost", "terminate"}) {
    EXPECT_EQ(reply.body.find(leak), std::string::npos) << what << ": " << reply.body;
  }
}

void expect_alive(const Rig& rig) {
  EXPECT_EQ(request(rig.port(), "GET", "/healthz").body, R"({"status":"ok"})");
}

RigOptions impatient() {
  RigOptions options;
  options.server.connection.head_timeout_ms = 300;
  options.server.connection.body_timeout_ms = 300;
  options.server.connection.idle_timeout_ms = 500;
  return options;
}

TEST(Http, HealthIsExactlyWhatWasAskedFor) {
  const Rig rig;
  const Reply reply = request(rig.port(), "GET", "/healthz");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.json(), (json::object{{"status", "ok"}}));
  EXPECT_EQ(request(rig.port(), "HEAD", "/healthz").header("content-length"), "15");
}

TEST(Http, ABodyCutAtEveryByteIsA400) {
  const Rig rig;
  const std::string whole =
      wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi")), {"content-type: application/json"});
  for (size_t cut = 1; cut < whole.size(); ++cut) {
    Client client(rig.port());
    client.send(std::string_view(whole).substr(0, cut));
    client.shutdown_send();
    const Reply reply = client.reply();
    if (reply.status != 400) ADD_FAILURE() << "cut at " << cut << ": " << reply.status << " " << reply.body;
  }
  EXPECT_EQ(rig.port() == 0, false);
  expect_alive(rig);
}

// The rest of a chunk that never comes once kept the I/O thread busy for ever.
TEST(Http, AChunkedBodyCutAtEveryByteIsA400) {
  const Rig rig;
  const std::string chat = json::serialize(chat_body("hi"));
  std::string whole = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
  const size_t head = whole.size();
  whole += "5\r\n" + chat.substr(0, 5) + "\r\n" + "40;a=b\r\n" + chat.substr(5, 64) + "\r\n0\r\n\r\n";
  for (size_t cut = head; cut < whole.size(); ++cut) {
    Client client(rig.port());
    client.send(whole.substr(0, cut));
    client.shutdown_send();
    expect_error(client.reply(), 400, "cut at " + std::to_string(cut));
  }
  expect_alive(rig);
}

TEST(Http, RequestsInPiecesOfOneByteAreAnswered) {
  const Rig rig;
  Client client(rig.port());
  for (const char c : wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi")))) {
    client.send(std::string_view(&c, 1));
  }
  EXPECT_EQ(client.reply().status, 200);
}

TEST(Http, PipelinedRequestsAreAnsweredInOrder) {
  const Rig rig;
  Client client(rig.port());
  client.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi"))) + wire("GET", "/healthz", "") +
              wire("GET", "/version", ""));
  EXPECT_EQ(client.reply().status, 200);
  EXPECT_EQ(client.reply().body, R"({"status":"ok"})");
  EXPECT_EQ(client.reply().status, 200);
}

// While a request runs the connection is read to see whether the client goes; the bytes of the next request's body, and
// of what follows it, come in their order all the same.
TEST(Http, ABodyPipelinedBehindARunningRequestArrivesWhole) {
  RigOptions options;
  options.script = R"([{"text": "one two three four", "first_ms": 300}])";
  const Rig rig(options);
  const std::string slow = wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi")));
  const std::string prompt(100'000, 'x');
  const std::string second = wire("POST", "/tokenize", json::serialize(json::object{{"prompt", prompt}}));
  const size_t head = second.find("\r\n\r\n") + 4;
  for (const size_t cut : {head, head + 1, head + 20'000}) {
    Client client(rig.port());
    client.send(slow);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    client.send(second.substr(0, cut));
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    client.send(second.substr(cut) + wire("GET", "/healthz", ""));
    EXPECT_EQ(client.reply().status, 200) << cut;
    const Reply tokens = client.reply();
    EXPECT_EQ(tokens.status, 200) << cut << tokens.body.substr(0, 300);
    EXPECT_EQ(client.reply().body, R"({"status":"ok"})") << cut;
  }
}

TEST(Http, SlowHeadsAndBodiesAreCutOff) {
  const Rig rig(impatient());
  {
    Client client(rig.port());
    client.send("GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ");
    expect_error(client.reply(), 408, "slow head");
  }
  {
    Client client(rig.port());
    client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{");
    expect_error(client.reply(), 408, "slow body");
  }
  {
    Client client(rig.port());  // says nothing
    EXPECT_EQ(client.reply().status, 0);
  }
  expect_alive(rig);
}

TEST(Http, DrippedBytesDoNotBuyTime) {
  const Rig rig(impatient());
  Client client(rig.port());
  client.send("GET /healthz HTTP/1.1\r\nhost: a\r\nx-slow: ");
  const auto start = std::chrono::steady_clock::now();
  Reply reply;
  std::thread drip([&] {
    for (int i = 0; i < 40; ++i) {
      client.send("a");
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  reply = client.reply();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(1500));
  drip.join();
  EXPECT_EQ(reply.status, 408);
}

TEST(Http, HeadsOverTheLimit) {
  const Rig rig;
  expect_error(request(rig.port(), "GET", "/healthz", "", {"x-big: " + std::string(70'000, 'a')}), 431, "one header");
  std::vector<std::string> many;
  for (int i = 0; i < 5000; ++i) many.push_back("x-" + std::to_string(i) + ": aaaaaaaaaa");
  expect_error(request(rig.port(), "GET", "/healthz", "", many), 431, "many headers");
  expect_error(request(rig.port(), "GET", "/" + std::string(100'000, 'a')), 431, "target");
  expect_alive(rig);
}

TEST(Http, ContentLengthWrongAbsentDoubled) {
  const Rig rig;
  const auto raw = [&rig](std::string_view bytes) {
    Client client(rig.port());
    client.send(bytes);
    client.shutdown_send();
    return client.reply();
  };
  const std::string head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n";
  expect_error(raw(head + "\r\n"), 411, "absent");
  expect_error(raw(head + "content-length: -1\r\n\r\n{}"), 400, "negative");
  expect_error(raw(head + "content-length: 2x\r\n\r\n{}"), 400, "no number");
  expect_error(raw(head + "content-length: 99999999999999999999\r\n\r\n{}"), 400, "beyond 64 bits");
  expect_error(raw(head + "content-length: 999999999999\r\n\r\n{}"), 413, "a terabyte");
  expect_error(raw(head + "content-length: 2\r\ncontent-length: 3\r\n\r\n{}x"), 400, "two that differ");
  expect_error(raw(head + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"), 400, "both");
  expect_error(raw(head + "transfer-encoding: gzip\r\n\r\n{}"), 400, "another coding");
  expect_error(raw(head + "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"), 400, "broken chunk");
  expect_error(raw(head + "content-length: 1000\r\n\r\n{}"), 400, "longer than the body");
  expect_error(raw(head + "content-length: 0\r\n\r\n"), 400, "empty");
  expect_alive(rig);
}

TEST(Http, ChunkedBodiesAreRead) {
  const Rig rig;
  const std::string body = json::serialize(chat_body("hi"));
  std::string bytes = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
  for (const char c : body) bytes += "1\r\n" + std::string(1, c) + "\r\n";
  Client client(rig.port());
  client.send(bytes + "0\r\n\r\n");
  EXPECT_EQ(client.reply().status, 200);
}

TEST(Http, NotHttpAtAll) {
  const Rig rig;
  for (const std::string& bytes :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11), std::string("GET\r\n\r\n"),
        std::string("GET / HTTP/9.9\r\n\r\n"), std::string(1000, '\0'), std::string("\r\n\r\n\r\n"),
        std::string("GET /a b HTTP/1.1\r\n\r\n"), std::string("GET / HTTP/1.1\r\nno colon\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nbad name : x\r\n\r\n"), std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")}) {
    Client client(rig.port());
    client.send(bytes);
    client.shutdown_send();
    const Reply reply = client.reply();
    EXPECT_TRUE(reply.status == 400 || reply.status == 0) << bytes << ": " << reply.status;
  }
  expect_alive(rig);
}

TEST(Http, RoutesAndMethods) {
  const Rig rig;
  expect_error(request(rig.port(), "GET", "/nothing"), 404, "unknown path");
  expect_error(request(rig.port(), "GET", "/v1/models/other"), 404, "unknown model");
  const Reply wrong_method = request(rig.port(), "GET", "/v1/chat/completions");
  expect_error(wrong_method, 405, "method");
  EXPECT_EQ(wrong_method.header("allow"), "POST");
  expect_error(
      request(rig.port(), "POST", "/v1/chat/completions", "a=b", {"content-type: application/x-www-form-urlencoded"}),
      415, "form");
  expect_error(request(rig.port(), "POST", "/v1/chat/completions", "{}", {"content-type: text/html"}), 415, "html");
}

TEST(Http, AConnectionGoesOnAfterAnError) {
  const Rig rig;
  Client client(rig.port());
  client.send(wire("POST", "/v1/chat/completions", "{", {"content-type: application/json"}));
  EXPECT_EQ(client.reply().status, 400);
  client.send(wire("POST", "/v1/nothing", R"({"a":1})"));
  EXPECT_EQ(client.reply().status, 404);
  client.send(wire("GET", "/healthz", ""));
  EXPECT_EQ(client.reply().status, 200);
}

TEST(Http, BodiesOverTheLimitAre413) {
  RigOptions options;
  options.server.connection.max_body_bytes = 10'000;
  const Rig rig(options);
  expect_error(post_json(rig.port(), "/v1/chat/completions", chat_body(std::string(20'000, 'a'))), 413, "declared");
  Client client(rig.port());
  client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
  for (int i = 0; i < 20; ++i) client.send("400\r\n" + std::string(1024, ' ') + "\r\n");
  expect_error(client.reply(), 413, "chunked");
  expect_alive(rig);
}

TEST(Http, ExpectContinueIsAnsweredBeforeTheBody) {
  const Rig rig;
  Client client(rig.port());
  const std::string body = json::serialize(chat_body("hi"));
  client.send("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: " +
              std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_TRUE(client.receive().starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send(body);
  EXPECT_EQ(client.reply().status, 200);
}

TEST(Http, RequestIdsAreEchoedWhenTheyAreSane) {
  const Rig rig;
  EXPECT_EQ(request(rig.port(), "GET", "/healthz", "", {"x-request-id: abc-1"}).header("x-request-id"), "abc-1");
  const std::string made = request(rig.port(), "GET", "/healthz", "", {"x-request-id: a b\"c"}).header("x-request-id");
  EXPECT_EQ(made.size(), 32u);
}

TEST(Http, Http10ClientsGetTheirAnswerAndTheEnd) {
  const Rig rig;
  const std::string body = json::serialize(chat_body("hi", true));
  Client client(rig.port());
  client.send("POST /v1/chat/completions HTTP/1.0\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" +
              body);
  const Reply reply = client.reply();
  EXPECT_EQ(reply.status, 200);
  EXPECT_TRUE(reply.body.ends_with("data: [DONE]\n\n")) << reply.body;
}

}  // namespace
}  // namespace glimpse
