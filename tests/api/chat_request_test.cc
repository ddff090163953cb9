#include "api/chat_request.h"

#include <algorithm>

#include "api/base64.h"
#include "api/completion_request.h"
#include "tests/api/fixture.h"

namespace glimpse {
namespace {

TEST(ChatRequest, ReadsTheUsualFields) {
  const ChatRequest request = good_chat(asking(
      R"("model":"other-name","temperature":0.5,"top_p":0.9,"top_k":-1,"seed":-3,"n":2,"max_tokens":7,
         "max_completion_tokens":9,"stop":["a","b"],"logit_bias":{"5":-100},"logprobs":true,"top_logprobs":3,
         "stream":true,"stream_options":{"include_usage":true,"continuous_usage_stats":true},"priority":2,
         "cache_salt":"s","request_id":"req-1","stop_token_ids":[7],"user":"u","metadata":{"a":1},"unknown":[])"));
  const GenerationFields& fields = request.generation;
  EXPECT_EQ(fields.model, "other-name");
  EXPECT_FLOAT_EQ(fields.sampling.temperature, 0.5f);
  EXPECT_EQ(fields.sampling.top_k, 0);
  EXPECT_EQ(fields.sampling.seed, static_cast<uint64_t>(-3));
  EXPECT_EQ(fields.n, 2);
  EXPECT_EQ(fields.max_tokens, 9) << "max_completion_tokens wins";
  EXPECT_EQ(fields.sampling.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(fields.sampling.logit_bias.at(0).first, 5);
  EXPECT_EQ(fields.sampling.logprobs, 3);
  EXPECT_TRUE(fields.stream && fields.include_usage && fields.continuous_usage_stats);
  EXPECT_EQ(fields.priority, Priority::kBackground);
  EXPECT_EQ(fields.cache_salt, "s");
  EXPECT_EQ(fields.request_id, "req-1");
}

TEST(ChatRequest, NullsCountAsAbsent) {
  const ChatRequest request = good_chat(asking(
      R"("model":null,"temperature":null,"stop":null,"logprobs":null,"top_logprobs":null,"tools":null,"n":null,
         "tool_choice":null,"max_tokens":null,"stream":null,"stream_options":null,"response_format":null,"seed":null,
         "logit_bias":null,"chat_template_kwargs":null,"thinking":null,"enable_thinking":null,"guided_json":null,
         "structured_outputs":null,"user":null,"reasoning_effort":null,"prompt_logprobs":null,"bad_words":null)"));
  EXPECT_EQ(request.generation.model, "glimpse-mini");
  EXPECT_EQ(request.generation.sampling.temperature, 0) << "the checkpoint says do_sample false";
  EXPECT_FALSE(request.generation.max_tokens.has_value());
}

// Every known field with every wrong type is a 400 that names the field; nothing else happens.
TEST(ChatRequest, WrongTypesAreNamed) {
  struct Case {
    const char* field;
    std::vector<const char*> wrong;
  };
  const std::vector<Case> cases = {
      {"model", {"1", "[]", "{}", "true"}},
      {"messages", {"1", "\"x\"", "{}", "[]", "[1]", "[{}]", "[{\"role\":1}]", "[{\"role\":\"user\"}]"}},
      {"temperature", {"\"x\"", "[]", "-1", "1e30"}},
      {"top_p", {"\"x\"", "0", "1.5"}},
      {"top_k", {"\"x\"", "1.5", "-2", "1e30"}},
      {"min_p", {"\"x\"", "2"}},
      {"repetition_penalty", {"\"x\"", "0"}},
      {"frequency_penalty", {"\"x\"", "3"}},
      {"presence_penalty", {"{}", "-3"}},
      {"n", {"\"x\"", "0", "17", "-1", "1e300", "99999999999999999999"}},
      {"max_tokens", {"\"x\"", "0", "-1", "1.5"}},
      {"max_completion_tokens", {"[]", "0"}},
      {"min_tokens", {"\"x\"", "-1"}},
      {"stop", {"1", "{}", "[1]", "\"\"", "[\"\"]"}},
      {"stop_token_ids", {"1", "[\"x\"]", "[-1]", "[4096]", "[1e3]"}},
      {"seed", {"\"x\"", "1.5", "18446744073709551615"}},
      {"logit_bias", {"[]", "{\"x\":1}", "{\"5\":101}", "{\"5\":\"x\"}", "{\"99999999\":1}", "{\"-1\":1}"}},
      {"logprobs", {"3", "\"x\""}},
      {"top_logprobs", {"\"x\"", "-1", "21", "5"}},
      {"stream", {"1", "\"true\""}},
      {"ignore_eos", {"1"}},
      {"response_format",
       {"1", "{}", "{\"type\":\"x\"}", "{\"type\":1}", "{\"type\":\"json_schema\"}",
        "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":1}}", "{\"type\":\"structural_tag\"}"}},
      {"tools",
       {"1", "[1]", "[{}]", "[{\"type\":\"x\"}]", "[{\"type\":\"function\",\"function\":{}}]",
        "[{\"type\":\"function\",\"function\":{\"name\":\"a b\"}}]",
        "[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":1}}]"}},
      {"tool_choice", {"1", "\"x\"", "\"required\"", "{}", "{\"type\":\"function\",\"function\":{\"name\":\"f\"}}"}},
      {"chat_template_kwargs",
       {"1", "[]", "{\"messages\":[]}", "{\"add_generation_prompt\":false}", "{\"bos_token\":\"x\"}",
        "{\"enable_thinking\":\"no\"}"}},
      {"thinking", {"1", "\"x\"", "{\"type\":\"x\"}", "{\"type\":1}"}},
      {"enable_thinking", {"1", "\"true\""}},
      {"reasoning_effort", {"1", "\"x\""}},
      {"include_reasoning", {"1"}},
      {"return_reasoning", {"\"x\""}},
      {"reasoning_format", {"1", "\"x\""}},
      {"priority", {"\"x\""}},
      {"cache_salt", {"1", "\"a@b\"", "\"a/b\"", "\"\\u0000\""}},
      {"structured_outputs",
       {"1", "{\"regex\":1}", "{\"choice\":[]}", "{\"choice\":[1]}", "{\"grammar\":\"x\"}",
        "{\"regex\":\"a\",\"choice\":[\"b\"]}"}},
      {"guided_json", {"1", "\"x\""}},
      {"prompt_logprobs", {"3"}},
      {"use_beam_search", {"true"}},
      {"best_of", {"2"}},
  };
  for (const Case& each : cases) {
    for (const char* wrong : each.wrong) {
      const std::string body = std::string(each.field) == "messages"
                                   ? "{\"messages\":" + std::string(wrong) + "}"
                                   : asking("\"" + std::string(each.field) + "\":" + wrong);
      const auto request = parse_chat(body);
      ASSERT_FALSE(request) << body;
      EXPECT_TRUE(request.error().status == 400 || request.error().status == 404) << body;
      EXPECT_TRUE(request.error().param.starts_with(each.field)) << body << ": " << request.error().param;
      EXPECT_FALSE(request.error().message.empty());
      const json::value error = json::parse(error_body(request.error()));
      EXPECT_TRUE(error.at("error").at("message").is_string());
    }
  }
}

TEST(ChatRequest, BodiesThatAreNoObjects) {
  for (const std::string& body :
       {std::string(), std::string(" "), std::string("["), std::string("[]"), std::string("nul"),
        std::string("{\"a\":NaN}"), std::string("\"\xff\""), std::string("{\"messages\":") + std::string(20000, '[')}) {
    const auto request = parse_chat(body);
    ASSERT_FALSE(request);
    EXPECT_EQ(request.error().status, 400);
  }
  EXPECT_FALSE(parse_chat(asking("\"temperature\":1e400")));
  // Cut anywhere, it is never anything but a 400.
  const std::string whole = asking("\"stop\":[\"x\"],\"n\":2");
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(parse_chat(whole.substr(0, size)));
  EXPECT_TRUE(parse_chat(whole));
}

TEST(ChatRequest, UnknownModel) {
  const auto request = parse_chat(asking("\"model\":\"gpt-4o\""));
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().status, 404);
  EXPECT_EQ(request.error().code, "model_not_found");
}

TEST(ChatRequest, ThinkingSwitchesAndTheirOrder) {
  EXPECT_EQ(good_chat(asking("")).enable_thinking, std::nullopt);
  EXPECT_EQ(good_chat(asking("\"reasoning_effort\":\"none\"")).enable_thinking, false);
  EXPECT_EQ(good_chat(asking("\"reasoning_effort\":\"high\"")).enable_thinking, true);
  EXPECT_EQ(good_chat(asking("\"reasoning\":{\"effort\":\"none\"}")).enable_thinking, false);
  EXPECT_EQ(good_chat(asking("\"reasoning_effort\":\"none\",\"enable_thinking\":true")).enable_thinking, true);
  EXPECT_EQ(good_chat(asking("\"thinking\":{\"type\":\"disabled\"},\"enable_thinking\":true")).enable_thinking, false);
  const ChatRequest request = good_chat(asking(
      R"("chat_template_kwargs":{"enable_thinking":true,"x":1},"thinking":{"type":"disabled","clear_thinking":false})"));
  EXPECT_EQ(request.enable_thinking, true);
  EXPECT_EQ(request.template_kwargs.at("x"), 1);
  EXPECT_EQ(request.template_kwargs.at("clear_thinking"), false);
}

TEST(ChatRequest, WhereReasoningGoes) {
  EXPECT_EQ(good_chat(asking("")).reasoning_format, ReasoningFormat::kSplit);
  EXPECT_EQ(good_chat(asking("\"reasoning_format\":\"inline\"")).reasoning_format, ReasoningFormat::kInline);
  EXPECT_EQ(good_chat(asking("\"reasoning_format\":\"none\"")).reasoning_format, ReasoningFormat::kInline);
  EXPECT_EQ(good_chat(asking("\"separate_reasoning\":false")).reasoning_format, ReasoningFormat::kInline);
  EXPECT_FALSE(good_chat(asking("\"return_reasoning\":false")).include_reasoning);
  ApiModelOptions options = mini_options();
  options.served_names = {"autoglm-phone-9b"};
  const ApiModel phone(mini_source(), options);
  EXPECT_EQ(parse_chat(asking(""), phone)->reasoning_format, ReasoningFormat::kInline);
  EXPECT_EQ(parse_chat(asking("\"reasoning_format\":\"split\""), phone)->reasoning_format, ReasoningFormat::kSplit);
}

TEST(ChatRequest, PicturesInOrder) {
  const ChatRequest request = good_chat(R"({"messages":[
      {"role":"system","content":[{"type":"text","text":"S"}]},
      {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},
        "bare",{"type":"image_url","image_url":"https://example.com/a.jpg","uuid":"u1"},
        {"type":"input_image","file_id":"file-9"},{"type":"file","file":{"file_id":"file-8"}},
        {"type":"image_url","image_url":null,"uuid":"u2"},
        {"type":"image_url","image_url":{"url":"file:///a%20b/c.png"}},
        {"type":"file","file":{"filename":"x.png","file_data":"data:image/png;base64,BBBB"}}]}]})");
  ASSERT_EQ(request.images.size(), 7U);
  using Kind = ImageSource::Kind;
  const std::vector<std::pair<Kind, std::string>> expected = {{Kind::kData, std::string(3, '\0')},
                                                              {Kind::kHttpUrl, "https://example.com/a.jpg"},
                                                              {Kind::kFileId, "file-9"},
                                                              {Kind::kFileId, "file-8"},
                                                              {Kind::kUuid, ""},
                                                              {Kind::kFileUrl, "/a b/c.png"},
                                                              {Kind::kData, "\x04\x10\x41"}};
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(request.images[i].kind, expected[i].first) << i;
    EXPECT_EQ(request.images[i].value, expected[i].second) << i;
  }
  EXPECT_EQ(request.images[0].detail, ImageDetail::kLow);
  EXPECT_EQ(request.images[0].param, "messages[1].content[0].image_url");
  EXPECT_EQ(request.images[1].uuid, "u1");
  EXPECT_EQ(request.images[4].uuid, "u2");
  // What the template gets has no picture data.
  EXPECT_EQ(request.messages.at(1).at("content").at(0), (json::value{{"type", "image"}}));
  EXPECT_EQ(max_picture_pixels(ImageDetail::kLow, 1 << 30), 512 * 512);
  EXPECT_EQ(max_picture_pixels(ImageDetail::kHigh, 1000), 1000);
}

TEST(ChatRequest, BadParts) {
  for (const char* part :
       {R"({"type":"image_url"})", R"({"type":"image_url","image_url":{}})", R"({"type":"image_url","image_url":5})",
        R"({"type":"image_url","image_url":{"url":"ftp://x"}})", R"({"type":"image_url","image_url":{"url":"data:x"}})",
        R"({"type":"image_url","image_url":{"url":"data:image/png;base64,AA","detail":"huge"}})",
        R"({"type":"image_url","image_url":{"url":"file://host/x"}})", R"({"type":"input_audio","input_audio":{}})",
        R"({"type":"video_url","video_url":{"url":"x"}})", R"({"type":"nonsense"})", R"({"type":"text"})",
        R"({"type":"text","text":5})", "5", "{}"}) {
    const auto request = parse_chat(R"({"messages":[{"role":"user","content":[)" + std::string(part) + "]}]}");
    ASSERT_FALSE(request) << part;
    EXPECT_EQ(request.error().status, 400) << part;
    EXPECT_TRUE(request.error().param.starts_with("messages[0].content[0]")) << part << request.error().param;
  }
}

TEST(ChatRequest, HistoryOfAgents) {
  const ChatRequest request = good_chat(R"({"messages":[
      {"role":"developer","content":"D"},{"role":"user","content":"Q","name":"bob"},
      {"role":"assistant","content":null,"reasoning":"R","refusal":null,"tool_calls":[
        {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},
        {"id":"c2","type":"function","function":{"name":"g","arguments":""}},
        {"id":"c3","type":"function","function":{"name":"h","arguments":"{broken"}}]},
      {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"r"}]},
      {"role":"assistant","content":"A","annotations":[],"audio":null}]})");
  EXPECT_EQ(request.messages.at(0).at("role"), "system");
  EXPECT_EQ(request.messages.at(2).at("content"), "");
  EXPECT_EQ(request.messages.at(2).at("reasoning_content"), "R");
  const json::value& calls = request.messages.at(2).at("tool_calls");
  EXPECT_EQ(calls.at(0).at("function").at("arguments").at("a"), 1);
  EXPECT_EQ(calls.at(1).at("function").at("arguments"), json::object{});
  EXPECT_EQ(calls.at(2).at("function").at("arguments").at("arguments"), "{broken");
}

TEST(ChatRequest, Tools) {
  const std::string tools =
      R"("tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},
                  {"type":"function","function":{"name":"g"}}])";
  EXPECT_TRUE(good_chat(asking(tools)).tools.active());
  EXPECT_FALSE(good_chat(asking("\"tools\":[]")).tools.active());
  EXPECT_FALSE(good_chat(asking(tools + R"(,"tool_choice":"none")")).tools.active());
  EXPECT_EQ(good_chat(asking(tools + R"(,"tool_choice":"required")")).tools.choice, ToolSet::Choice::kRequired);
  const ToolSet named =
      good_chat(
          asking(tools + R"(,"tool_choice":{"type":"function","function":{"name":"g"}},"parallel_tool_calls":false)"))
          .tools;
  EXPECT_EQ(named.named, "g");
  EXPECT_FALSE(named.parallel);
  EXPECT_FALSE(parse_chat(asking(tools + R"(,"tool_choice":{"type":"function","function":{"name":"x"}})")));
}

TEST(ChatRequest, Base64) {
  const auto decoded = [](std::string_view text) -> std::string {
    const auto bytes = decode_base64(text, "p");
    if (!bytes) return "ERROR " + bytes.error().code;
    return *bytes;
  };
  EXPECT_EQ(decoded("Zm9vYmFy"), "foobar");
  EXPECT_EQ(decoded("Zm9vYmE="), "fooba");
  EXPECT_EQ(decoded("Zm9vYmE"), "fooba");
  EXPECT_EQ(decoded("Zm9v\nYg==\n"), "foob");
  EXPECT_EQ(decoded("_-8="), decoded("/+8="));
  for (const char* bad : {"", "=", "A", "Zm9v!mFy", "Zm9vYg==Zm9v", "Zm9vY"})
    EXPECT_EQ(decoded(bad), "ERROR invalid_image") << bad;

  // Long texts go through vectors: every digit in every place, what does not belong there in every place.
  std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (int turn = 0; turn < 64; ++turn) {
    std::string bytes;
    for (size_t i = 0; i < digits.size(); i += 4) {
      uint32_t group = 0;
      for (size_t j = i; j < i + 4; ++j) {
        const char c = digits[j];
        const int value = c >= 'a' ? c - 'a' + 26 : c >= 'A' ? c - 'A' : c >= '0' ? c - '0' + 52 : c == '+' ? 62 : 63;
        group = group << 6 | static_cast<uint32_t>(value);
      }
      for (const int shift : {16, 8, 0}) bytes += static_cast<char>(group >> shift);
    }
    EXPECT_EQ(decoded(digits), bytes);
    std::string web = digits;
    std::replace(web.begin(), web.end(), '+', '-');
    std::replace(web.begin(), web.end(), '/', '_');
    EXPECT_EQ(decoded(web), bytes);
    const auto place = static_cast<size_t>(turn);
    EXPECT_EQ(decoded(std::string(digits).insert(place, "\r\n")), bytes);
    for (const char c : {'!', '\x80', '@', '[', '`', '{', ':', '.', ',', '\0'}) {
      std::string bad = digits;
      bad[place] = c;
      EXPECT_EQ(decoded(bad), "ERROR invalid_image") << place << " " << c;
    }
    std::rotate(digits.begin(), digits.begin() + 1, digits.end());
  }
}

TEST(CompletionRequest, Prompts) {
  const auto parse = [](std::string_view body) { return parse_completion_request(json::parse(body), mini_model()); };
  EXPECT_EQ(parse(R"({"prompt":"a"})")->prompts.size(), 1U);
  EXPECT_EQ(parse(R"({"prompt":"a"})")->generation.max_tokens, 16);
  EXPECT_EQ(parse(R"({"prompt":["a","b"]})")->prompts.size(), 2U);
  EXPECT_EQ(std::get<1>(parse(R"({"prompt":[1,2]})")->prompts.at(0)), (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(parse(R"({"prompt":[[1],[2,3]]})")->prompts.size(), 2U);
  for (const char* bad : {R"({})", R"({"prompt":5})", R"({"prompt":[1,"a"]})", R"({"prompt":[-1]})",
                          R"({"prompt":"a","suffix":"b"})", R"({"prompt":"a","logprobs":true})"}) {
    EXPECT_FALSE(parse(bad)) << bad;
  }
}

TEST(Tokenize, ThereAndBack) {
  auto request = parse_tokenize_request(json::parse(R"({"prompt":"Hello 图","return_token_strs":true})"), mini_model());
  ASSERT_TRUE(request);
  const json::value response = json::parse(*tokenize_response(*request, mini_model()));
  EXPECT_EQ(response.at("count").to_number<size_t>(), response.at("tokens").as_array().size());
  EXPECT_EQ(response.at("token_strs").as_array().size(), response.at("tokens").as_array().size());
  const auto back = detokenize_response(json::object{{"tokens", response.at("tokens")}}, mini_model());
  EXPECT_EQ(json::parse(*back).at("prompt"), "Hello 图");
  EXPECT_FALSE(detokenize_response(json::parse(R"({"tokens":[4096]})"), mini_model()));
  EXPECT_FALSE(detokenize_response(json::parse(R"({"tokens":[9223372036854775807]})"), mini_model()));
  auto chat = parse_tokenize_request(json::parse(asking("")), mini_model());
  ASSERT_TRUE(chat);
  EXPECT_TRUE(tokenize_response(*chat, mini_model()));
}

TEST(Errors, OneMapping) {
  EXPECT_EQ(to_api_error({ErrorCode::kInvalidArgument, "m"}, "f").status, 400);
  EXPECT_EQ(to_api_error({ErrorCode::kOverloaded, "m"}).status, 429);
  EXPECT_TRUE(to_api_error({ErrorCode::kOverloaded, "m"}).retry_after_s.has_value());
  const ApiError internal = to_api_error({ErrorCode::kResource, "/secret/path: no memory"});
  EXPECT_EQ(internal.status, 500);
  EXPECT_EQ(internal.message.find("secret"), std::string::npos);
  const json::value body = json::parse(error_body(context_length_exceeded(10, 12)));
  EXPECT_EQ(body.at("error").at("code"), "context_length_exceeded");
  EXPECT_NE(std::string_view(body.at("error").at("message").as_string()).find("maximum context length is 10 tokens"),
            std::string_view::npos);
  EXPECT_EQ(json::parse(error_body(http_error(405, "x"))).at("error").at("code"), 405);
}

}  // namespace
}  // namespace glimpse
