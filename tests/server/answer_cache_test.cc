// The answer cache: what it takes for the same request, and what comes back.

#include "server/answer_cache.h"

#include <gtest/gtest.h>

#include "sampling/token_mask.h"
#include "tests/server/rig.h"

namespace glimpse {
namespace {

EngineRequest usual_request() {
  EngineRequest request;
  request.prompt.token_ids = {1, 2, 3};
  request.sampling.temperature = 0;
  request.stop_token_ids = {7};
  request.max_tokens = 10;
  return request;
}

ImageKey image_key(uint8_t first) {
  ImageKey key;
  key.sha256[0] = first;
  return key;
}

TEST(AnswerCacheKey, EveryFieldThatDecidesTheTokensIsInIt) {
  using Change = std::function<void(EngineRequest&)>;
  const std::vector<std::pair<const char*, Change>> greedy = {
      {"prompt", [](EngineRequest& r) { r.prompt.token_ids.back() = 4; }},
      {"longer prompt", [](EngineRequest& r) { r.prompt.token_ids.push_back(4); }},
      {"repetition penalty", [](EngineRequest& r) { r.sampling.repetition_penalty = 1.1f; }},
      {"frequency penalty", [](EngineRequest& r) { r.sampling.frequency_penalty = 0.2f; }},
      {"presence penalty", [](EngineRequest& r) { r.sampling.presence_penalty = 0.2f; }},
      {"bias", [](EngineRequest& r) { r.sampling.logit_bias = {{5, 1.0f}}; }},
      {"another bias", [](EngineRequest& r) { r.sampling.logit_bias = {{5, 2.0f}}; }},
      {"stop", [](EngineRequest& r) { r.sampling.stop = {"ab"}; }},
      {"stops", [](EngineRequest& r) { r.sampling.stop = {"a", "b"}; }},
      {"stop tokens", [](EngineRequest& r) { r.stop_token_ids = {7, 8}; }},
      {"no stop tokens", [](EngineRequest& r) { r.stop_token_ids = {}; }},
      {"min_tokens", [](EngineRequest& r) { r.sampling.min_tokens = 2; }},
      {"logprobs", [](EngineRequest& r) { r.sampling.logprobs = 0; }},
      {"top_logprobs", [](EngineRequest& r) { r.sampling.logprobs = 3; }},
      {"mask", [](EngineRequest& r) { r.mask_key = "json"; }},
      {"max_tokens", [](EngineRequest& r) { r.max_tokens = 11; }},
      {"seeded", [](EngineRequest& r) { r.sampling.temperature = 1, r.sampling.seed = 1; }},
      {"seed", [](EngineRequest& r) { r.sampling.temperature = 1, r.sampling.seed = 2; }},
      {"temperature", [](EngineRequest& r) { r.sampling.temperature = 0.5f, r.sampling.seed = 1; }},
      {"top_k", [](EngineRequest& r) { r.sampling.temperature = 1, r.sampling.seed = 1, r.sampling.top_k = 5; }},
      {"top_p", [](EngineRequest& r) { r.sampling.temperature = 1, r.sampling.seed = 1, r.sampling.top_p = 0.5f; }},
      {"min_p", [](EngineRequest& r) { r.sampling.temperature = 1, r.sampling.seed = 1, r.sampling.min_p = 0.5f; }},
  };
  std::map<Sha256Digest, std::string> seen;
  const auto add = [&](const std::string& name, const EngineRequest& request, std::span<const ImageKey> images,
                       std::string_view salt) {
    const auto key = AnswerCache::key_of(request, images, salt);
    ASSERT_TRUE(key.has_value()) << name;
    const auto [other, added] = seen.emplace(*key, name);
    EXPECT_TRUE(added) << name << " has the key of " << other->second;
  };
  add("usual", usual_request(), {}, "");
  for (const auto& [name, change] : greedy) {
    EngineRequest request = usual_request();
    change(request);
    add(name, request, {}, "");
  }
  add("salt", usual_request(), {}, "a");
  const std::vector<ImageKey> images = {image_key(1), image_key(2)};
  const std::vector<ImageKey> swapped = {image_key(2), image_key(1)};
  add("picture", usual_request(), std::span(images).first(1), "");
  add("two pictures", usual_request(), images, "");
  add("the other way round", usual_request(), swapped, "");
}

TEST(AnswerCacheKey, WhatDoesNotDecideTheTokensIsNot) {
  const auto key = AnswerCache::key_of(usual_request(), {}, "");
  EngineRequest other = usual_request();
  other.id = "another";
  other.priority = Priority::kBackground;
  other.deadline_ns = 5;
  other.arrival_ns = 9;
  other.sampling.seed = 3;  // the likeliest token needs no dice
  other.sampling.top_p = 0.5f;
  EXPECT_EQ(AnswerCache::key_of(other, {}, ""), key);
}

TEST(AnswerCacheKey, ThereIsNoneForWhatIsDrawnAnew) {
  EngineRequest request = usual_request();
  request.sampling.temperature = 0.1f;
  EXPECT_FALSE(AnswerCache::key_of(request, {}, "").has_value());
}

CachedAnswer answer_of(size_t num_ids, int32_t id = 1) {
  CachedAnswer answer;
  answer.ids.assign(num_ids, id);
  answer.finish = FinishReason::kLength;
  return answer;
}

Sha256Digest digest_of(int i) {
  return Sha256::of(std::to_string(i));
}

TEST(AnswerCache, ForgetsWhatWasUsedLongestAgo) {
  const size_t one = answer_of(100).bytes();
  AnswerCache cache(3 * one);
  for (int i = 0; i < 3; ++i) cache.add(digest_of(i), answer_of(100, i));
  EXPECT_EQ(cache.stats().bytes, 3 * one);
  ASSERT_NE(cache.find(digest_of(0)), nullptr);
  cache.add(digest_of(3), answer_of(100, 3));
  EXPECT_EQ(cache.find(digest_of(1)), nullptr);
  for (const int i : {0, 2, 3}) {
    const auto found = cache.find(digest_of(i));
    ASSERT_NE(found, nullptr) << i;
    EXPECT_EQ(found->ids.front(), i);
  }
  cache.add(digest_of(4), answer_of(100'000));  // larger than all room
  EXPECT_EQ(cache.find(digest_of(4)), nullptr);
  EXPECT_EQ(cache.stats().count, 3u);
  cache.add(digest_of(5), answer_of(250, 5));  // in the room of several
  EXPECT_LE(cache.stats().bytes, 3 * one);
  EXPECT_NE(cache.find(digest_of(5)), nullptr);
  EXPECT_EQ(cache.stats().hits, 5);
  EXPECT_EQ(cache.stats().queries, 7);
}

// Over HTTP
// ------------------------------------------------------------------------------------------------------------

RigOptions caching(std::string script = R"([{"text": "<think>Let me see.</think>One two three."}])") {
  RigOptions options;
  options.server.answer_cache_bytes = 1 << 20;
  options.server.prefill_follow_ups = false;  // seen() has the questions alone
  options.script = std::move(script);
  return options;
}

json::object greedy_body(bool stream = false) {
  json::object body = chat_body("hi", stream);
  body["temperature"] = 0;
  return body;
}

std::string message_of(const Reply& reply) {
  EXPECT_EQ(reply.status, 200) << reply.body;
  return json::serialize(reply.json().at("choices"));
}

TEST(AnswerCacheOverHttp, TheSameRequestGetsTheSameMessageWithoutTheEngine) {
  Rig rig(caching());
  const Reply first = post_json(rig.port(), "/v1/chat/completions", greedy_body());
  const Reply again = post_json(rig.port(), "/v1/chat/completions", greedy_body());
  EXPECT_EQ(rig.engine().seen().size(), 1u);
  EXPECT_EQ(message_of(again), message_of(first));
  const json::value body = again.json();
  EXPECT_NE(body.at("id"), first.json().at("id"));
  const json::value& usage = body.at("usage");
  EXPECT_EQ(usage.at("completion_tokens"), first.json().at("usage").at("completion_tokens"));
  EXPECT_EQ(usage.at("prompt_tokens_details").at("cached_tokens"), usage.at("prompt_tokens"));
  EXPECT_EQ(first.json().at("latency").at("answer_cache_hits"), 0);
  const json::value& latency = body.at("latency");
  EXPECT_EQ(latency.at("answer_cache_hits"), 1);
  EXPECT_EQ(latency.at("cached_tokens"), usage.at("prompt_tokens"));
  for (const json::value& span : latency.at("spans").as_array()) {
    EXPECT_NE(span.at("name"), "prefill");
    EXPECT_NE(span.at("name"), "decode");
  }
  const double total = latency.at("total_ms").to_number<double>();
  EXPECT_LE(total - latency.at("covered_ms").to_number<double>(), std::max(1.0, 0.02 * total));
  const std::string metrics = request(rig.port(), "GET", "/metrics").body;
  EXPECT_NE(metrics.find("glimpse:answer_cache_queries_total{engine=\"0\",model_name=\"mini\"} 2"), std::string::npos);
  EXPECT_NE(metrics.find("glimpse:answer_cache_hits_total{engine=\"0\",model_name=\"mini\"} 1"), std::string::npos);
  EXPECT_NE(metrics.find("finished_reason=\"stop\",model_name=\"mini\"} 2"), std::string::npos);
}

// The text of each field of the deltas, put together.
std::string streamed_text(const Reply& reply, std::string_view field) {
  std::string text;
  for (const json::value& event : events_of(reply.body)) {
    if (!event.is_object()) continue;
    for (const json::value& choice : event.at("choices").as_array()) {
      const json::value* value = find(choice.at("delta").as_object(), field);
      if (value != nullptr && value->is_string()) text += value->as_string();
    }
  }
  return text;
}

TEST(AnswerCacheOverHttp, StreamedOrNotIsTheSameRequest) {
  for (const bool first_streams : {false, true}) {
    Rig rig(caching());
    const Reply first = post_json(rig.port(), "/v1/chat/completions", greedy_body(first_streams));
    const Reply again = post_json(rig.port(), "/v1/chat/completions", greedy_body(!first_streams));
    const Reply third = post_json(rig.port(), "/v1/chat/completions", greedy_body(first_streams));
    EXPECT_EQ(rig.engine().seen().size(), 1u);
    const Reply& whole = first_streams ? again : first;
    const Reply& stream = first_streams ? first : again;
    const json::value message = whole.json().at("choices").at(0).at("message");
    const std::string_view content = message.at("content").as_string();
    EXPECT_EQ(streamed_text(stream, "content"), content);
    EXPECT_EQ(streamed_text(stream, "reasoning_content"), message.at("reasoning_content").as_string().c_str());
    EXPECT_EQ(events_of(stream.body).back(), "[DONE]");
    if (first_streams) {
      EXPECT_EQ(streamed_text(third, "content"), content);
    } else {
      EXPECT_EQ(message_of(third), message_of(first));
    }
  }
}

TEST(AnswerCacheOverHttp, ToolCallsKeepTheirIds) {
  Rig rig(caching(
      R"([{"text": "Well.\n<tool_call>look\n<arg_key>at</arg_key>\n<arg_value>here</arg_value>\n</tool_call>"}])"));
  json::object body = greedy_body();
  body["tools"] = json::array{
      json::object{{"type", "function"}, {"function", json::object{{"name", "look"}, {"parameters", json::object{}}}}}};
  const Reply first = post_json(rig.port(), "/v1/chat/completions", body);
  ASSERT_EQ(first.json().at("choices").at(0).at("message").at("tool_calls").as_array().size(), 1u) << first.body;
  EXPECT_EQ(message_of(post_json(rig.port(), "/v1/chat/completions", body)), message_of(first));
  EXPECT_EQ(rig.engine().seen().size(), 1u);
}

TEST(AnswerCacheOverHttp, StopStringsLogprobsAndSeveralChoices) {
  Rig rig(caching(R"([{"text": "one two three four"}])"));
  json::object body = greedy_body();
  body["stop"] = "three";
  body["logprobs"] = true;
  body["top_logprobs"] = 2;
  body["n"] = 2;
  const Reply first = post_json(rig.port(), "/v1/chat/completions", body);
  const Reply again = post_json(rig.port(), "/v1/chat/completions", body);
  EXPECT_EQ(rig.engine().seen().size(), 2u);
  EXPECT_EQ(message_of(again), message_of(first));
  EXPECT_EQ(again.json().at("choices").at(1).at("stop_reason"), "three");
  EXPECT_EQ(again.json().at("latency").at("answer_cache_hits"), 2);
  body.erase("stop");
  EXPECT_NE(message_of(post_json(rig.port(), "/v1/chat/completions", body)), message_of(first));
}

TEST(AnswerCacheOverHttp, AnyOtherRequestIsAskedAnew) {
  Rig rig(caching());
  post_json(rig.port(), "/v1/chat/completions", greedy_body());
  size_t expected = 1;
  const auto differs = [&](std::string_view field, json::value value) {
    json::object body = greedy_body();
    body[field] = std::move(value);
    const Reply reply = post_json(rig.port(), "/v1/chat/completions", body);
    EXPECT_EQ(reply.status, 200) << field << reply.body;
    EXPECT_EQ(rig.engine().seen().size(), ++expected) << field;
  };
  differs("messages", chat_body("ho").at("messages"));
  differs("max_tokens", 5);
  differs("frequency_penalty", 0.2);
  differs("stop", "x");
  differs("stop_token_ids", json::array{3});
  differs("logit_bias", json::object{{"3", 1}});
  differs("logprobs", true);
  differs("ignore_eos", true);
  differs("skip_special_tokens", false);
  differs("cache_salt", "other");
  differs("allowed_token_ids", json::array{1, 2, 3});
  differs("chat_template_kwargs", json::object{{"enable_thinking", false}});
}

TEST(AnswerCacheOverHttp, UnseededSamplingIsNeverKept) {
  Rig rig(caching());
  for (int i = 0; i < 2; ++i) {
    json::object body = chat_body("hi");
    body["temperature"] = 0.7;
    post_json(rig.port(), "/v1/chat/completions", body);
  }
  EXPECT_EQ(rig.engine().seen().size(), 2u);
  for (int i = 0; i < 2; ++i) {
    json::object body = chat_body("hi");
    body["temperature"] = 0.7;
    body["seed"] = 5;
    post_json(rig.port(), "/v1/chat/completions", body);
  }
  EXPECT_EQ(rig.engine().seen().size(), 3u);
}

TEST(AnswerCacheOverHttp, KeysDoNotShareAnswers) {
  RigOptions options = caching();
  options.server.api_keys = {"alice", "bob"};
  Rig rig(options);
  const auto ask = [&](const std::string& key) {
    EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", greedy_body(), {"authorization: Bearer " + key}).status,
              200);
  };
  ask("alice");
  ask("bob");
  EXPECT_EQ(rig.engine().seen().size(), 2u);
  ask("alice");
  ask("bob");
  EXPECT_EQ(rig.engine().seen().size(), 2u);
}

TEST(AnswerCacheOverHttp, AnotherPictureIsAnotherRequest) {
  Rig rig(caching());
  const std::string png = sample_png();
  json::object body = picture_chat_body(png, "what?");
  body["temperature"] = 0;
  for (int i = 0; i < 2; ++i) post_json(rig.port(), "/v1/chat/completions", body);
  EXPECT_EQ(rig.engine().seen().size(), 1u);
  json::object other = picture_chat_body(png + "x", "what?");  // the same pixels in other bytes
  other["temperature"] = 0;
  post_json(rig.port(), "/v1/chat/completions", other);
  EXPECT_EQ(rig.engine().seen().size(), 2u);
}

TEST(AnswerCacheOverHttp, FailuresAndLeftAnswersAreNotKept) {
  Rig rig(caching(R"([{"text": "some text", "finish": "failed"}])"));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", greedy_body()).status, 500);
  EXPECT_EQ(rig.engine().seen().size(), 2u);
}

TEST(AnswerCacheOverHttp, IsOffUnlessGivenRoom) {
  RigOptions options = caching();
  options.server.answer_cache_bytes = 0;
  Rig rig(options);
  for (int i = 0; i < 2; ++i) post_json(rig.port(), "/v1/chat/completions", greedy_body());
  EXPECT_EQ(rig.engine().seen().size(), 2u);
}

}  // namespace
}  // namespace glimpse
