// Chat over HTTP: answers, streams, cancellation in every phase, slow readers.

#include <gtest/gtest.h>

#include <set>

#include "tests/server/rig.h"

namespace glimpse {
namespace {

std::string text_of(const std::vector<json::value>& events) {
  std::string text;
  for (const json::value& event : events) {
    if (!event.is_object()) continue;
    for (const json::value& choice : event.at("choices").as_array()) {
      const json::object& delta = choice.at("delta").as_object();
      if (const json::value* content = find(delta, "content")) text += content->as_string();
    }
  }
  return text;
}

TEST(Chat, AnswersWhole) {
  const Rig rig;
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"));
  ASSERT_EQ(reply.status, 200) << reply.body;
  const json::value body = reply.json();
  EXPECT_EQ(body.at("object"), "chat.completion");
  EXPECT_EQ(body.at("choices").at(0).at("message").at("content"), "Hello there.");
  EXPECT_EQ(body.at("choices").at(0).at("finish_reason"), "stop");
  EXPECT_GT(body.at("usage").at("prompt_tokens").as_int64(), 0);
  EXPECT_FALSE(reply.header("server-timing").empty());
}

TEST(Chat, Streams) {
  const Rig rig;
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi", true));
  ASSERT_EQ(reply.status, 200);
  EXPECT_EQ(reply.header("content-type"), "text/event-stream; charset=utf-8");
  const auto events = events_of(reply.body);
  ASSERT_GE(events.size(), 3u);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_EQ(text_of(events), "Hello there.");
  EXPECT_EQ(events.front().at("choices").at(0).at("delta").at("role"), "assistant");
}

TEST(Chat, FourThousandTokens) {
  RigOptions options;
  options.script = R"([{"text": "word ", "repeat": 2000}])";
  const Rig rig(options);
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi", true));
  std::string expected;  // two tokens a word
  for (int i = 0; i < 2000; ++i) expected += "word ";
  EXPECT_EQ(text_of(events_of(reply.body)), expected);
}

TEST(Chat, ManyAtOnceOverKeptConnections) {
  RigOptions options;
  options.script = R"([{"text": "one two three four five", "per_token_ms": 1}])";
  const Rig rig(options);
  std::atomic<int> good{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      Client client(rig.port());
      for (int j = 0; j < 5; ++j) {
        const bool stream = (i + j) % 2 == 0;
        client.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", stream))));
        const Reply reply = client.reply();
        if (reply.status == 200 && reply.body.find(stream ? "[DONE]" : "one two three four five") != std::string::npos)
          ++good;
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(good, 80);
}

TEST(Chat, AFailureWithinAStreamIsAnErrorEvent) {
  RigOptions options;
  options.script = R"([{"text": "some text", "finish": "failed", "per_token_ms": 1}])";
  const Rig rig(options);
  const auto events = events_of(post_json(rig.port(), "/v1/chat/completions", chat_body("hi", true)).body);
  ASSERT_GE(events.size(), 2u);
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_TRUE(events[events.size() - 2].as_object().contains("error")) << events[events.size() - 2];
  const Reply whole = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"));
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.body.find("script"), std::string::npos) << whole.body;
}

TEST(Chat, PingsWhileThereIsNothingToSay) {
  RigOptions options;
  options.script = R"([{"text": "late", "first_ms": 500}])";
  options.server.ping_interval_ms = 50;
  const Rig rig(options);
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi", true));
  EXPECT_NE(reply.body.find(": ping\n\n"), std::string::npos);
  EXPECT_EQ(text_of(events_of(reply.body)), "late");
}

// A client that leaves ends its request within a step, whatever is being done for it.
struct Phase {
  const char* name;
  double first_ms;
  double per_token_ms;
  double vision_ms;
  bool stream;
  bool picture;
};

class Disconnect : public testing::TestWithParam<Phase> {};

TEST_P(Disconnect, EndsTheRequest) {
  const Phase& phase = GetParam();
  RigOptions options;
  options.engine.vision_ms = phase.vision_ms;
  options.script = json::serialize(json::array{json::object{
      {"text", "word "}, {"repeat", 1000}, {"first_ms", phase.first_ms}, {"per_token_ms", phase.per_token_ms}}});
  Rig rig(options);
  json::object body = phase.picture ? picture_chat_body(sample_png(), "what?") : chat_body("hi");
  body["stream"] = phase.stream;
  {
    Client client(rig.port());
    client.send(wire("POST", "/v1/chat/completions", json::serialize(body)));
    ASSERT_TRUE(eventually([&] { return !rig.engine().seen().empty(); }));
    if (phase.first_ms == 0 && phase.stream) client.receive();
  }
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 1; })) << phase.name;
  EXPECT_EQ(rig.engine().stats().num_running, 0);
  EXPECT_EQ(rig.engine().stats().num_waiting, 0);
}

INSTANTIATE_TEST_SUITE_P(Phases, Disconnect,
                         testing::Values(Phase{"vision", 0, 1, 100'000, false, true},
                                         Phase{"prefill", 100'000, 1, 1, false, false},
                                         Phase{"prefill, stream", 100'000, 1, 1, true, false},
                                         Phase{"decode", 0, 100, 1, false, false},
                                         Phase{"decode, stream", 0, 100, 1, true, false}),
                         [](const auto& test) { return "phase" + std::to_string(test.index); });

TEST(Chat, DisconnectWithinTheUploadLeavesNothing) {
  Rig rig;
  const std::string whole = wire("POST", "/v1/chat/completions", json::serialize(chat_body(std::string(100'000, 'a'))));
  for (int i = 0; i < 20; ++i) {
    Client client(rig.port());
    client.send(std::string_view(whole).substr(0, whole.size() * static_cast<size_t>(i + 1) / 21));
  }
  EXPECT_EQ(request(rig.port(), "GET", "/healthz").status, 200);
  EXPECT_TRUE(rig.engine().seen().empty());
}

json::array repeated_words(int count) {
  return {json::object{{"text", " word"}, {"repeat", count}}};
}

// More than text goes with each token here, and that is not kept for ever.
TEST(Chat, ASlowReaderIsCutOffInsteadOfHoldingMemory) {
  RigOptions options;
  options.script = json::serialize(repeated_words(7000));
  options.server.connection.max_pending_bytes = 100'000;
  Rig rig(options);
  Client client(rig.port(), 4096);
  json::object body = chat_body("hi", true);
  body["logprobs"] = true;
  client.send(wire("POST", "/v1/chat/completions", json::serialize(body)));
  // Reads nothing: the kernel takes some of the 2 MB, the server little more, then it gives up.
  EXPECT_TRUE(eventually([&] { return rig.engine().num_cancelled() == 1; }));
  EXPECT_EQ(request(rig.port(), "GET", "/healthz").status, 200);
}

TEST(Chat, ASlowReaderGetsTheWholeAnswerInFewerPieces) {
  constexpr int kWords = 3500;
  RigOptions options;
  options.script = json::serialize(repeated_words(kWords));
  options.server.connection.max_pending_bytes = 100'000;
  Rig rig(options);
  Client client(rig.port(), 4096);
  client.send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", true))));
  ASSERT_TRUE(eventually([&] { return rig.engine().stats().num_running == 1; }));
  // As a chunk each the answer has 1.7 MB: the sockets' buffers are full long before its end.
  ASSERT_TRUE(eventually([&] { return rig.engine().stats().num_running == 0; }));
  EXPECT_EQ(rig.engine().num_cancelled(), 0);
  const auto events = events_of(client.reply().body);
  std::string expected;
  for (int i = 0; i < kWords; ++i) expected += " word";
  EXPECT_TRUE(text_of(events) == expected.substr(1)) << text_of(events).size();  // an answer's first space is dropped
  EXPECT_EQ(events.back(), "[DONE]");
  EXPECT_LT(events.size(), size_t{kWords}) << "tokens that waited together came together";
}

TEST(Chat, DisconnectAtTheLastWriteLeavesNothing) {
  RigOptions options;
  options.script = json::serialize(repeated_words(2500));
  Rig rig(options);
  const auto connections = [&] { return request(rig.port(), "GET", "/load").json().at("connections"); };
  const std::string ask = wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi", true)));
  {  // the answer is complete, and its end waits for a client that does not read
    Client client(rig.port(), 4096);
    client.send(ask);
    ASSERT_TRUE(eventually([&] { return rig.engine().seen().size() >= 1 && rig.engine().stats().num_running == 0; }));
    EXPECT_EQ(connections(), 2);
  }
  EXPECT_TRUE(eventually([&] { return connections() == 1; }));
  options.script = R"([{"text": "one two"}])";
  Rig quick(options);
  for (int round = 0; round < 50; ++round) {  // somewhere about the last write, before or after it
    Client client(quick.port());
    client.send(ask);
    std::string text;
    while (text.find(round % 2 == 0 ? "two" : "finish_reason\":\"stop") == std::string::npos) {
      const std::string more = client.receive();
      ASSERT_FALSE(more.empty());
      text += more;
    }
  }
  EXPECT_TRUE(eventually([&] {
    const json::value load = request(quick.port(), "GET", "/load").json();
    return load.at("connections") == 1 && load.at("server_load") == 0 && load.at("running") == 0;
  }));
  EXPECT_EQ(post_json(quick.port(), "/v1/chat/completions", chat_body("hi")).status, 200);
}

TEST(Chat, DeadlinesEndRequests) {
  RigOptions options;
  options.script = R"([{"text": "never", "first_ms": 100000}])";
  options.server.request_timeout_ms = 100;
  const Rig rig(options);
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"));
  EXPECT_TRUE(reply.status == 504 || reply.status == 503 || reply.status == 408) << reply.status << reply.body;
  EXPECT_FALSE(reply.error_message().empty());
}

TEST(Chat, AFullQueueIs429WithAnHonestRetryAfter) {
  RigOptions options;
  options.engine.max_running = 1;
  options.server.max_waiting = 1;
  options.script = R"([{"text": "slow", "first_ms": 100000}])";
  Rig rig(options);
  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::make_unique<Client>(rig.port()));
    clients.back()->send(wire("POST", "/v1/chat/completions", json::serialize(chat_body("hi"))));
    ASSERT_TRUE(eventually([&] { return rig.engine().seen().size() == static_cast<size_t>(i + 1); }));
    ASSERT_TRUE(eventually([&] { return rig.engine().stats().num_running == 1; }));
  }
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi"));
  EXPECT_EQ(reply.status, 429);
  EXPECT_GE(std::stoi(reply.header("retry-after")), 1);
}

TEST(Chat, TheAccountCoversTheRequest) {
  RigOptions options;
  options.script = R"([{"text": "one two three four five six seven eight", "first_ms": 5, "per_token_ms": 2}])";
  const Rig rig(options);
  for (const bool stream : {false, true}) {
    const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body("hi", stream));
    json::value last = reply.json();
    if (stream) {
      const auto events = events_of(reply.body);
      ASSERT_GE(events.size(), 2u);
      last = events[events.size() - 2];
    }
    const json::object& latency = last.at("latency").as_object();
    const double total = latency.at("total_ms").to_number<double>();
    const double covered = latency.at("covered_ms").to_number<double>();
    EXPECT_GT(total, 10);
    EXPECT_TRUE(covered >= 0.98 * total || total - covered <= 1) << covered << " of " << total;
    double exclusive = 0;
    for (const json::value& span : latency.at("spans").as_array()) {
      exclusive += span.at("exclusive_ms").to_number<double>();
    }
    EXPECT_NEAR(exclusive, covered, 0.02);
    EXPECT_TRUE(last.as_object().contains("timings"));
  }
}

TEST(Chat, ARepeatedPictureIsNotDecodedAgain) {
  Rig rig;
  const json::object body = picture_chat_body(sample_png(), "what?");
  const Reply first = post_json(rig.port(), "/v1/chat/completions", body);
  EXPECT_EQ(first.status, 200);
  std::set<std::string> spans;
  const json::value account = first.json().at("latency");
  for (const json::value& span : account.at("spans").as_array()) spans.emplace(span.at("name").as_string());
  EXPECT_TRUE(spans.contains("decode_image"));
  EXPECT_TRUE(spans.contains("vision"));
  const Reply again = post_json(rig.port(), "/v1/chat/completions", body);
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(rig.engine().stats().images_encoded, 1);
  const json::value latency = again.json().at("latency");
  EXPECT_EQ(latency.at("image_cache_hits"), 1);
  for (const json::value& span : latency.at("spans").as_array()) {
    EXPECT_NE(span.at("name"), "decode_image");
    EXPECT_NE(span.at("name"), "vision");
  }
}

TEST(Chat, TheSameBytesUnderAnotherDetailAreAnotherPicture) {
  Rig rig;
  json::object body = picture_chat_body(sample_png(), "what?");
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", body).status, 200);
  body["messages"].at(0).at("content").at(0).at("image_url").as_object()["detail"] = "low";
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", body).status, 200);
  EXPECT_EQ(rig.engine().stats().images_encoded, 2);
}

TEST(Chat, WhatAFollowUpSharesIsComputedInAdvance) {
  Rig rig;
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", chat_body("a rather long question about nothing")).status,
            200);
  ASSERT_TRUE(eventually([&] { return rig.engine().seen().size() == 2; }));
  const EngineRequest follow_up = rig.engine().seen()[1];
  EXPECT_EQ(follow_up.priority, Priority::kDraft);
  EXPECT_EQ(follow_up.max_tokens, 0);
  // The next turn of the conversation begins with it.
  json::object next = chat_body("a rather long question about nothing");
  next["messages"].as_array().push_back(json::object{{"role", "assistant"}, {"content", "Hello there."}});
  next["messages"].as_array().push_back(json::object{{"role", "user"}, {"content", "and now?"}});
  EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", next).status, 200);
  const EngineRequest question = rig.engine().seen()[2];
  const auto& prefix = follow_up.prompt.token_ids;
  ASSERT_LE(prefix.size(), question.prompt.token_ids.size());
  EXPECT_TRUE(std::equal(prefix.begin(), prefix.end(), question.prompt.token_ids.begin()));
}

TEST(Chat, CacheSaltsOfTwoKeysDiffer) {
  RigOptions options;
  options.server.api_keys = {"alice", "bob"};
  Rig rig(options);
  for (const char* key : {"alice", "bob"}) {
    EXPECT_EQ(
        post_json(rig.port(), "/v1/chat/completions", chat_body("hi"), {std::string("authorization: Bearer ") + key})
            .status,
        200);
  }
  std::set<std::string> salts;
  for (const EngineRequest& seen : rig.engine().seen()) salts.insert(seen.cache_salt);
  EXPECT_EQ(salts.size(), 2u);
}

TEST(Completions, TextInTextOut) {
  const Rig rig;
  const Reply reply = post_json(rig.port(), "/v1/completions", json::object{{"prompt", "Once"}, {"max_tokens", 50}});
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().at("choices").at(0).at("text"), "Hello there.");
}

TEST(Completions, SeveralPromptsAndChoices) {
  const Rig rig;
  const Reply reply = post_json(rig.port(), "/v1/completions",
                                json::object{{"prompt", json::array{"a", "b"}}, {"n", 2}, {"max_tokens", 50}});
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(reply.json().at("choices").as_array().size(), 4u);
}

}  // namespace
}  // namespace glimpse
