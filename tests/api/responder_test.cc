#include "api/responder.h"

#include <utility>

#include "tests/api/fixture.h"
#include "tokenizer/detokenizer.h"

namespace glimpse {
namespace {

std::vector<int32_t> ids_of(std::string_view text) {
  const auto ids = mini_source().tokenizer.encode(text);
  EXPECT_TRUE(ids);
  return *ids;
}

struct Answer {
  std::string bytes;                // all that was sent
  std::vector<json::value> chunks;  // its data lines, [DONE] left out
  json::value whole;                // without stream
  bool done_line = false;
  bool cancelled = false;
};

Answer read_stream(std::string bytes) {
  Answer answer;
  size_t begin = 0;
  while (begin < bytes.size()) {
    const size_t end = bytes.find("\n\n", begin);
    EXPECT_NE(end, std::string::npos);
    const std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    EXPECT_TRUE(line.starts_with("data: ")) << line;
    EXPECT_FALSE(answer.done_line) << "nothing follows [DONE]";
    if (line == "data: [DONE]") {
      answer.done_line = true;
    } else {
      const auto parsed = parse_json(line.substr(6));
      EXPECT_TRUE(parsed) << line;
      if (parsed) answer.chunks.push_back(*parsed);
    }
    begin = end + 2;
  }
  answer.bytes = std::move(bytes);
  return answer;
}

// Feeds tokens in events of `step` tokens, ending with the stop token unless `reason` says otherwise.
Answer answered(const ChatRequest& request, const std::vector<int32_t>& ids, size_t step = 1,
                FinishReason reason = FinishReason::kStop, bool starts_in_reasoning = false) {
  BuiltPrompt built =
      *build_chat_prompt(request, std::vector<GridThw>(request.images.size(), GridThw{1, 2, 2}), mini_model());
  built.starts_in_reasoning = starts_in_reasoning;
  const auto responder =
      Responder::chat(request, built, mini_model(), {.id = "chatcmpl-1", .created_s = 99, .fingerprint = "fp"});
  std::string out;
  bool all_done = false;
  Answer answer;
  for (int choice = 0; choice < request.generation.n; ++choice) {
    for (size_t i = 0; i < ids.size() || i == 0;) {
      EngineEvent event;
      event.num_prompt_tokens = built.prompt.num_tokens();
      event.num_cached_tokens = 3;
      for (size_t j = 0; j < step && i < ids.size(); ++j, ++i) {
        event.tokens.push_back({.id = ids[i], .logprob = -0.5f, .top_logprobs = {{ids[i], -0.5f}, {0, -2.25f}}});
      }
      if (ids.empty()) ++i;
      if (i >= ids.size()) {
        event.finish = reason;
        if (reason == FinishReason::kStop) {
          event.stop_token_id = 4067;
          event.tokens.push_back({.id = 4067, .logprob = -0.1f, .top_logprobs = {}});
        }
      }
      const auto progress = responder->push(choice, event, out);
      answer.cancelled |= progress.cancel;
      all_done = progress.all_done;
      if (progress.choice_done) break;
    }
  }
  EXPECT_TRUE(all_done);
  LatencyAccount account(1000);
  account.record(Span::kPrefill, 1000, 3'001'000);
  account.record(Span::kDecode, 3'001'000, 9'001'000);
  account.finish(9'001'000);
  responder->finish({.account = &account, .image_cache_hits = 1}, out);
  if (request.generation.stream) {
    Answer read = read_stream(std::move(out));
    read.cancelled = answer.cancelled;
    return read;
  }
  answer.whole = json::parse(out);
  answer.bytes = std::move(out);
  return answer;
}

// The chunks of one choice put together as a client does.
struct Joined {
  std::string content;
  std::string reasoning;
  std::string other_reasoning;
  std::vector<std::pair<std::string, std::string>> calls;
  std::string finish_reason;
  int num_finish = 0;
  size_t num_logprobs = 0;
};

Joined join(const Answer& answer, int64_t index = 0) {
  Joined joined;
  bool first = true;
  EXPECT_TRUE(answer.done_line);
  for (const json::value& chunk : answer.chunks) {
    EXPECT_EQ(chunk.at("id"), "chatcmpl-1");
    EXPECT_EQ(chunk.at("object"), "chat.completion.chunk");
    EXPECT_EQ(chunk.at("created"), 99);
    EXPECT_EQ(chunk.at("model"), "glimpse-mini");
    EXPECT_FALSE(chunk.as_object().contains("error"));
    for (const json::value& choice : chunk.at("choices").as_array()) {
      if (choice.at("index") != index) continue;
      const json::object& delta = choice.at("delta").as_object();
      EXPECT_EQ(delta.contains("role"), first) << "the role comes with the first text, once";
      first = false;
      if (const auto* text = delta.if_contains("content")) joined.content += text->as_string();
      if (const auto* text = delta.if_contains("reasoning_content")) joined.reasoning += text->as_string();
      if (const auto* text = delta.if_contains("reasoning")) joined.other_reasoning += text->as_string();
      if (const auto* calls = delta.if_contains("tool_calls")) {
        EXPECT_EQ(calls->as_array().size(), 1U);
        for (const json::value& call : calls->as_array()) {
          const auto at = static_cast<size_t>(call.at("index").as_int64());
          if (call.as_object().contains("id")) {
            EXPECT_EQ(at, joined.calls.size());
            EXPECT_EQ(call.at("type"), "function");
            joined.calls.emplace_back(call.at("function").at("name").as_string(), "");
          }
          joined.calls.at(at).second += call.at("function").at("arguments").as_string();
        }
      }
      if (choice.at("logprobs").is_object())
        joined.num_logprobs += choice.at("logprobs").at("content").as_array().size();
      if (choice.at("finish_reason").is_string()) {
        joined.finish_reason = choice.at("finish_reason").as_string();
        ++joined.num_finish;
      }
    }
  }
  EXPECT_EQ(joined.num_finish, 1);
  EXPECT_EQ(joined.reasoning, joined.other_reasoning);
  return joined;
}

constexpr std::string_view kThoughts =
    "\n<think>\nLet me \"look\".\n</think>\n<|begin_of_box|>Two cats, 两只猫 🐈.<|end_of_box|>";

TEST(Responder, StreamsTextAsItComes) {
  const auto ids = ids_of(kThoughts);
  for (size_t step = 1; step < 6; ++step) {
    const Joined joined = join(answered(good_chat(asking("\"stream\":true")), ids, step));
    EXPECT_EQ(joined.content, "Two cats, 两只猫 🐈.");
    EXPECT_EQ(joined.reasoning, "Let me \"look\".");
    EXPECT_EQ(joined.finish_reason, "stop");
  }
}

TEST(Responder, WholeObject) {
  const Answer answer = answered(good_chat(asking("\"logprobs\":true,\"top_logprobs\":2")), ids_of("A <b>\n"));
  const json::value& choice = answer.whole.at("choices").at(0);
  EXPECT_EQ(answer.whole.at("object"), "chat.completion");
  EXPECT_EQ(choice.at("message").at("content"), "A <b>\n");
  EXPECT_EQ(choice.at("message").at("role"), "assistant");
  EXPECT_FALSE(choice.at("message").as_object().contains("tool_calls"));
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  EXPECT_TRUE(choice.at("stop_reason").is_null());
  const auto ids = ids_of("A <b>\n");
  const json::array& logprobs = choice.at("logprobs").at("content").as_array();
  ASSERT_EQ(logprobs.size(), ids.size());
  std::string joined;
  for (const json::value& entry : logprobs) {
    EXPECT_EQ(entry.at("logprob"), -0.5);
    EXPECT_EQ(entry.at("top_logprobs").as_array().size(), 2U);
    for (const json::value& byte : entry.at("bytes").as_array()) joined += static_cast<char>(byte.as_int64());
  }
  EXPECT_EQ(joined, "A <b>\n");
  const json::value& usage = answer.whole.at("usage");
  EXPECT_EQ(usage.at("completion_tokens"), ids.size() + 1) << "the stop token counts";
  EXPECT_EQ(usage.at("total_tokens").as_int64(),
            usage.at("prompt_tokens").as_int64() + usage.at("completion_tokens").as_int64());
  EXPECT_EQ(usage.at("prompt_tokens_details").at("cached_tokens"), 3);
  EXPECT_EQ(usage.at("completion_tokens_details").at("reasoning_tokens"), 0);
  EXPECT_EQ(answer.whole.at("latency").at("total_ms"), 9);
  EXPECT_EQ(answer.whole.at("latency").at("image_cache_hits"), 1);
  EXPECT_EQ(answer.whole.at("timings").at("prompt_ms"), 3);
  EXPECT_EQ(answer.whole.at("timings").at("predicted_ms"), 6);
}

TEST(Responder, StreamAndWholeSayTheSame) {
  const auto ids = ids_of(kThoughts);
  const Joined streamed = join(answered(good_chat(asking("\"stream\":true,\"logprobs\":true")), ids));
  const json::value whole = answered(good_chat(asking("\"logprobs\":true")), ids).whole.at("choices").at(0);
  EXPECT_EQ(whole.at("message").at("content"), json::value(streamed.content));
  EXPECT_EQ(whole.at("message").at("reasoning"), json::value(streamed.reasoning));
  EXPECT_EQ(whole.at("message").at("reasoning_content"), json::value(streamed.reasoning));
  EXPECT_EQ(whole.at("finish_reason"), json::value(streamed.finish_reason));
  EXPECT_EQ(whole.at("logprobs").at("content").as_array().size(), streamed.num_logprobs);
}

TEST(Responder, InlineAndHiddenReasoning) {
  const auto ids = ids_of(kThoughts);
  EXPECT_EQ(join(answered(good_chat(asking("\"stream\":true,\"reasoning_format\":\"inline\"")), ids)).content,
            "\n<think>\nLet me \"look\".\n</think>\nTwo cats, 两只猫 🐈.");
  const Answer hidden = answered(good_chat(asking("\"include_reasoning\":false")), ids);
  EXPECT_FALSE(hidden.whole.at("choices").at(0).at("message").as_object().contains("reasoning"));
  EXPECT_EQ(hidden.whole.at("choices").at(0).at("message").at("content"), "Two cats, 两只猫 🐈.");
  EXPECT_GT(hidden.whole.at("usage").at("completion_tokens_details").at("reasoning_tokens").as_int64(), 3);
}

TEST(Responder, ReasoningThatIsCutOffStaysReasoning) {
  const json::value whole =
      answered(good_chat(asking("")), ids_of("still thinking"), 1, FinishReason::kLength, true).whole;
  const json::value& choice = whole.at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "length");
  EXPECT_EQ(choice.at("message").at("reasoning_content"), "still thinking");
  EXPECT_EQ(choice.at("message").at("content"), "");
}

TEST(Responder, SpecialTokensOnlyWhenAskedFor) {
  const auto ids = ids_of("<|begin_of_box|>5<|end_of_box|><|assistant|>");
  EXPECT_EQ(join(answered(good_chat(asking("\"stream\":true")), ids)).content, "5");
  EXPECT_EQ(join(answered(good_chat(asking("\"stream\":true,\"skip_special_tokens\":false")), ids)).content,
            "<|begin_of_box|>5<|end_of_box|><|assistant|>");
}

TEST(Responder, StopStringsEndTheChoice) {
  const auto ids = ids_of("one two three four");
  for (const bool stream : {true, false}) {
    const std::string fields = stream ? "\"stream\":true," : "";
    const Answer plain = answered(good_chat(asking(fields + "\"stop\":\" thr\"")), ids);
    EXPECT_TRUE(plain.cancelled);
    const Answer kept =
        answered(good_chat(asking(fields + "\"stop\":[\" thr\"],\"include_stop_str_in_output\":true")), ids);
    if (stream) {
      EXPECT_EQ(join(plain).content, "one two");
      EXPECT_EQ(join(plain).finish_reason, "stop");
      EXPECT_EQ(join(kept).content, "one two thr");
      EXPECT_EQ(plain.chunks.back().at("choices").at(0).at("stop_reason"), " thr");
    } else {
      EXPECT_EQ(plain.whole.at("choices").at(0).at("message").at("content"), "one two");
      EXPECT_EQ(plain.whole.at("choices").at(0).at("stop_reason"), " thr");
      EXPECT_EQ(kept.whole.at("choices").at(0).at("message").at("content"), "one two thr");
    }
  }
}

TEST(Responder, UsageChunkComesLastAndOnlyWhenAskedFor) {
  const auto ids = ids_of("one two three");
  const Answer plain = answered(good_chat(asking("\"stream\":true")), ids);
  for (const json::value& chunk : plain.chunks) EXPECT_FALSE(chunk.as_object().contains("usage"));
  EXPECT_TRUE(plain.chunks.back().as_object().contains("latency"));
  const Answer counted = answered(good_chat(asking(R"("stream":true,"stream_options":{"include_usage":true})")), ids);
  for (size_t i = 0; i + 1 < counted.chunks.size(); ++i) {
    EXPECT_TRUE(counted.chunks[i].at("usage").is_null());
    EXPECT_FALSE(counted.chunks[i].as_object().contains("latency"));
  }
  EXPECT_TRUE(counted.chunks.back().at("choices").as_array().empty());
  EXPECT_EQ(counted.chunks.back().at("usage").at("completion_tokens"), ids.size() + 1);
  EXPECT_TRUE(counted.chunks.back().as_object().contains("latency"));
  EXPECT_TRUE(counted.chunks.back().as_object().contains("timings"));
  const Answer each = answered(
      good_chat(asking(R"("stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true})")), ids);
  EXPECT_EQ(each.chunks.front().at("usage").at("completion_tokens"), 1);
}

TEST(Responder, SeveralChoices) {
  const auto ids = ids_of("one two");
  const Answer answer = answered(good_chat(asking("\"stream\":true,\"n\":2")), ids);
  EXPECT_EQ(join(answer, 0).content, "one two");
  EXPECT_EQ(join(answer, 1).content, "one two");
  EXPECT_EQ(answered(good_chat(asking("\"n\":3")), ids).whole.at("choices").as_array().size(), 3U);
}

TEST(Responder, EmptyAnswer) {
  EXPECT_EQ(join(answered(good_chat(asking("\"stream\":true")), {})).content, "");
  EXPECT_EQ(answered(good_chat(asking("")), {}).whole.at("choices").at(0).at("message").at("content"), "");
}

constexpr std::string_view kTools =
    R"("tools":[{"type":"function","function":{"name":"look","parameters":{"type":"object","properties":{
        "what":{"type":"string"},"n":{"type":"integer"}}}}}])";
constexpr std::string_view kCalls =
    "<think>hm</think>\nI look.\n<tool_call>look\n<arg_key>what</arg_key>\n<arg_value>a \"cat\"</arg_value>\n"
    "<arg_key>n</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>look\n</tool_call>";

TEST(Responder, ToolCalls) {
  const auto ids = ids_of(kCalls);
  for (const size_t step : {1U, 3U, 200U}) {
    const Joined joined = join(answered(good_chat(asking(std::string(kTools) + ",\"stream\":true")), ids, step));
    EXPECT_EQ(joined.content, "I look.");
    EXPECT_EQ(joined.reasoning, "hm");
    EXPECT_EQ(joined.finish_reason, "tool_calls");
    ASSERT_EQ(joined.calls.size(), 2U);
    EXPECT_EQ(joined.calls[0].second, R"({"what": "a \"cat\"", "n": 2})");
    EXPECT_EQ(joined.calls[1].second, "{}");
  }
  const json::value whole = answered(good_chat(asking(kTools)), ids).whole.at("choices").at(0);
  EXPECT_EQ(whole.at("finish_reason"), "tool_calls");
  const json::array& calls = whole.at("message").at("tool_calls").as_array();
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0].at("function").at("arguments"), R"({"what": "a \"cat\"", "n": 2})");
  EXPECT_NE(calls[0].at("id"), calls[1].at("id"));
  EXPECT_TRUE(std::string_view(calls[0].at("id").as_string()).starts_with("call_"));
  // Without tools, or with tool_choice none, it is text.
  EXPECT_FALSE(answered(good_chat(asking(std::string(kTools) + ",\"tool_choice\":\"none\"")), ids)
                   .whole.at("choices")
                   .at(0)
                   .at("message")
                   .as_object()
                   .contains("tool_calls"));
  const json::value only = answered(good_chat(asking(kTools)), ids_of("<tool_call>look\n</tool_call>")).whole;
  EXPECT_TRUE(only.at("choices").at(0).at("message").at("content").is_null());
}

// Written by hand, each chunk is what a DOM would be serialised to, whatever characters there are.
TEST(Responder, ChunksEqualTheDomVersion) {
  std::string nasty;
  for (int c = 1; c < 128; ++c) {
    if (c != '<') nasty += static_cast<char>(c);  // that one is held back: it may begin a tag
  }
  nasty += "…🐈\u2028";
  const auto ids = ids_of(nasty);
  const Answer answer = answered(good_chat(asking("\"stream\":true,\"logprobs\":true")), ids);
  EXPECT_EQ(join(answer).content, nasty);
  // The text so far, token by token: what each chunk has to carry.
  Detokenizer detokenizer(mini_source().tokenizer);
  size_t next = 0;
  json::array waiting;
  for (const int32_t id : ids) {
    const auto entry = [&](int32_t token, double logprob) {
      const std::string_view bytes = mini_source().tokenizer.token_bytes(token);
      json::array list;
      for (const char byte : bytes) list.push_back(static_cast<unsigned char>(byte));
      const int32_t one[] = {token};
      return json::object{
          {"token", mini_source().tokenizer.decode(one)}, {"logprob", logprob}, {"bytes", std::move(list)}};
    };
    json::object whole = entry(id, -0.5);
    whole["top_logprobs"] = json::array{entry(id, -0.5), entry(0, -2.25)};
    waiting.push_back(std::move(whole));
    const std::string text(detokenizer.push(id));
    if (text.empty()) continue;
    json::object delta;
    if (next == 0) delta["role"] = "assistant";
    delta["content"] = text;
    const json::object choice{{"index", 0},
                              {"delta", std::move(delta)},
                              {"logprobs", {{"content", std::exchange(waiting, {})}, {"refusal", nullptr}}},
                              {"finish_reason", nullptr}};
    const json::object expected{
        {"id", "chatcmpl-1"},      {"object", "chat.completion.chunk"}, {"created", 99},
        {"model", "glimpse-mini"}, {"system_fingerprint", "fp"},        {"choices", json::array{choice}}};
    ASSERT_LT(next, answer.chunks.size());
    EXPECT_EQ(json::serialize(answer.chunks[next]), json::serialize(expected));
    ++next;
  }
  EXPECT_EQ(next + 1, answer.chunks.size()) << "and the last one, with the finish_reason";
}

TEST(Responder, TokenIdsWhenAskedFor) {
  const auto ids = ids_of("one two");
  const Answer answer = answered(good_chat(asking("\"stream\":true,\"return_token_ids\":true")), ids);
  EXPECT_FALSE(answer.chunks.front().at("prompt_token_ids").as_array().empty());
  json::array joined;
  for (const json::value& chunk : answer.chunks) {
    for (const json::value& id : chunk.at("choices").at(0).at("token_ids").as_array()) joined.push_back(id);
  }
  json::array expected(ids.begin(), ids.end());
  expected.push_back(4067);
  EXPECT_EQ(joined, expected);
}

TEST(Responder, FailuresAreReported) {
  const ChatRequest request = good_chat(asking(""));
  const BuiltPrompt built = *build_chat_prompt(request, {}, mini_model());
  const auto responder = Responder::chat(request, built, mini_model(), {.id = "x"});
  std::string out;
  EngineEvent event;
  event.finish = FinishReason::kFailed;
  event.error = "cudaErrorSecret at 0x7fff";
  EXPECT_TRUE(responder->push(0, event, out).all_done);
  ASSERT_NE(responder->failure(), nullptr);
  EXPECT_EQ(responder->failure()->status, 500);
  EXPECT_EQ(responder->failure()->message.find("0x7fff"), std::string::npos);
  Responder::append_stream_error(*responder->failure(), out);
  EXPECT_TRUE(out.starts_with("data: {\"error\":")) << out;
  EXPECT_TRUE(out.ends_with("\n\ndata: [DONE]\n\n"));
}

TEST(CompletionResponder, TextAndLogprobs) {
  const auto request = parse_completion_request(
      json::parse(R"({"prompt":["Say","Tell"],"logprobs":1,"echo":false,"n":1})"), mini_model());
  ASSERT_TRUE(request);
  std::vector<BuiltPrompt> built;
  for (const auto& prompt : request->prompts) built.push_back(*build_text_prompt(prompt, mini_model()));
  const auto responder = Responder::completion(*request, built, mini_model(), {.id = "cmpl-1", .created_s = 1});
  std::string out;
  for (int choice = 0; choice < 2; ++choice) {
    for (const int32_t id : ids_of("a b")) {
      EngineEvent event;
      event.tokens.push_back({.id = id, .logprob = -1, .top_logprobs = {{id, -1}}});
      responder->push(choice, event, out);
    }
    EngineEvent end;
    end.finish = FinishReason::kLength;
    responder->push(choice, end, out);
  }
  responder->finish({}, out);
  const json::value whole = json::parse(out);
  EXPECT_EQ(whole.at("object"), "text_completion");
  ASSERT_EQ(whole.at("choices").as_array().size(), 2U);
  const json::value& choice = whole.at("choices").at(1);
  EXPECT_EQ(choice.at("text"), "a b");
  EXPECT_EQ(choice.at("finish_reason"), "length");
  EXPECT_EQ(choice.at("logprobs").at("tokens").as_array().size(), ids_of("a b").size());
  EXPECT_EQ(choice.at("logprobs").at("text_offset").at(1), 1);
  EXPECT_EQ(choice.at("logprobs").at("top_logprobs").at(0).as_object().size(), 1U);
}

}  // namespace
}  // namespace glimpse
