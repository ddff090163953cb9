// Bad JSON, fields and pictures through the whole server; what is legal though odd is answered.

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/server/rig.h"

namespace glimpse {
namespace {

void expect_bad(const Reply& reply, const std::string& what, int status = 400) {
  EXPECT_EQ(reply.status, status) << what << ": " << reply.body.substr(0, 300);
  EXPECT_FALSE(reply.error_message().empty()) << what;
  EXPECT_LT(reply.body.size(), 2000u) << what;
}

Reply post_text(const Rig& rig, std::string_view text) {
  return request(rig.port(), "POST", "/v1/chat/completions", text, {"content-type: application/json"});
}

TEST(BadInput, Json) {
  const Rig rig;
  const std::string good = json::serialize(chat_body("hi"));
  expect_bad(post_text(rig, std::string(20'000, '[') + std::string(20'000, ']')), "20,000 deep");
  std::string deep;
  for (int i = 0; i < 20'000; ++i) deep += "{\"a\":";
  expect_bad(post_text(rig, deep + "1" + std::string(20'000, '}')), "20,000 objects deep");
  expect_bad(post_text(rig, R"({"messages": [], "temperature": NaN})"), "NaN");
  expect_bad(post_text(rig, R"({"messages": [{"role":"user","content":"a"}], "temperature": 1e400})"), "1e400");
  expect_bad(post_text(rig, "{\"messages\": [{\"role\":\"user\",\"content\":\"\xff\xfe\"}]}"), "invalid UTF-8");
  expect_bad(post_text(rig, "{\"messages\": [{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]}"), "a surrogate");
  expect_bad(post_text(rig, good + "x"), "something behind");
  expect_bad(post_text(rig, "null"), "null");
  expect_bad(post_text(rig, "[]"), "a list");
  expect_bad(post_text(rig, "\"a\""), "a string");
  expect_bad(post_text(rig, " "), "blank");
  expect_bad(post_text(rig, "{\"messages\": [{\"role\":\"user\",\"content\":\"a\0b\"}]}"), "a zero byte");
  for (size_t cut = 1; cut < good.size(); ++cut) expect_bad(post_text(rig, good.substr(0, cut)), "cut");
  EXPECT_EQ(post_text(rig, good).status, 200);
}

TEST(BadInput, EveryFieldOfAWrongType) {
  const Rig rig;
  const json::value wrong[] = {json::value(json::array{1}), json::value(json::object{{"a", 1}}), json::value("text"),
                               json::value(-1.5), json::value(true)};
  for (const char* field : {"messages",
                            "max_tokens",
                            "max_completion_tokens",
                            "temperature",
                            "top_p",
                            "frequency_penalty",
                            "presence_penalty",
                            "n",
                            "stop",
                            "seed",
                            "logit_bias",
                            "logprobs",
                            "top_logprobs",
                            "stream",
                            "stream_options",
                            "response_format",
                            "tools",
                            "tool_choice",
                            "reasoning_effort",
                            "top_k",
                            "min_p",
                            "repetition_penalty",
                            "min_tokens",
                            "ignore_eos",
                            "stop_token_ids",
                            "chat_template_kwargs",
                            "thinking",
                            "enable_thinking",
                            "model"}) {
    for (const json::value& value : wrong) {
      json::object body = chat_body("hi");
      body[field] = value;
      const Reply reply = post_json(rig.port(), "/v1/chat/completions", body);
      EXPECT_TRUE(reply.status == 200 || reply.status == 400 || reply.status == 404)
          << field << " = " << json::serialize(value) << ": " << reply.status << " " << reply.body;
    }
    json::object body = chat_body("hi");
    if (std::string_view(field) == "messages") continue;
    body[field] = nullptr;
    EXPECT_EQ(post_json(rig.port(), "/v1/chat/completions", body).status, 200) << field << " = null";
  }
}

TEST(BadInput, Extremes) {
  const Rig rig;
  const auto with = [&rig](std::string_view field, const json::value& value) {
    json::object body = chat_body("hi");
    body[field] = value;
    return post_json(rig.port(), "/v1/chat/completions", body);
  };
  expect_bad(with("n", 0), "n 0");
  expect_bad(with("n", 1'000'000), "n a million");
  expect_bad(with("n", INT64_MAX), "n max");
  expect_bad(with("max_tokens", 0), "max_tokens 0");
  expect_bad(with("max_tokens", -1), "max_tokens -1");
  json::object logprobs = chat_body("hi");
  logprobs["logprobs"] = true;
  logprobs["top_logprobs"] = 1'000'000;
  expect_bad(post_json(rig.port(), "/v1/chat/completions", logprobs), "top_logprobs");
  expect_bad(with("stop", json::array(1000, json::value("a"))), "a thousand stop strings");
  expect_bad(with("stop", json::value(std::string(1'000'000, 'a'))), "a long stop string");
  expect_bad(with("logit_bias", json::object{{"-1", 1}}), "logit_bias id");
  expect_bad(with("logit_bias", json::object{{"5", 1000}}), "logit_bias value");
  expect_bad(with("model", "nobody"), "model", 404);
  expect_bad(with("tool_choice", json::object{{"type", "function"}, {"function", {{"name", "none"}}}}), "tool_choice");
  EXPECT_EQ(with("max_tokens", INT32_MAX).status, 200);
  EXPECT_EQ(with("seed", INT64_MIN).status, 200);
  EXPECT_EQ(with("an_unknown_field", json::object{{"a", 1}}).status, 200);
}

TEST(BadInput, TooLongAPromptIsSaidSo) {
  RigOptions options;
  options.engine.max_model_len = 64;
  const Rig rig(options);
  const Reply reply = post_json(rig.port(), "/v1/chat/completions", chat_body(std::string(5000, 'x')));
  expect_bad(reply, "too long");
  EXPECT_EQ(reply.json().at("error").at("code"), "context_length_exceeded");
  EXPECT_NE(reply.error_message().find("maximum context length is 64 tokens"), std::string::npos);
}

Reply ask_about(const Rig& rig, std::string_view bytes) {
  return post_json(rig.port(), "/v1/chat/completions", picture_chat_body(bytes, "what?"));
}

Reply ask_about_url(const Rig& rig, std::string_view url) {
  json::object body = picture_chat_body("", "what?");
  body["messages"].at(0).at("content").at(0).at("image_url").as_object()["url"] = url;
  return post_json(rig.port(), "/v1/chat/completions", body);
}

// A PNG header that claims a size, with nothing behind it.
std::string png_of_size(uint32_t width, uint32_t height) {
  std::string bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
  for (const uint32_t value : {width, height}) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  }
  return bytes + std::string("\x08\x02\0\0\0\0\0\0\0", 9);
}

TEST(BadInput, Pictures) {
  const Rig rig;
  const std::string png = sample_png();
  expect_bad(ask_about(rig, ""), "0 bytes");
  expect_bad(ask_about(rig, "\x89PNG"), "4 bytes");
  expect_bad(ask_about(rig, png_of_size(65535, 65535)), "65535 x 65535");
  expect_bad(ask_about(rig, png_of_size(0, 10)), "no width");
  expect_bad(ask_about(rig, "<svg xmlns=\"http://www.w3.org/2000/svg\"></svg>"), "SVG renamed");
  expect_bad(ask_about(rig, "<!doctype html><img src=x onerror=alert(1)>"), "HTML renamed");
  for (size_t cut = 1; cut < png.size(); cut += png.size() / 23) expect_bad(ask_about(rig, png.substr(0, cut)), "cut");
  expect_bad(ask_about_url(rig, "data:image/png;base64,!!!!"), "no base64");
  expect_bad(ask_about_url(rig, "data:image/png;base64," + base64(png).substr(0, 1001)), "base64 of a broken length");
  expect_bad(ask_about_url(rig, "data:image/png,abc"), "not base64");
  expect_bad(ask_about_url(rig, ""), "an empty URL");
  expect_bad(ask_about_url(rig, "ftp://example.com/a.png"), "ftp");
  expect_bad(ask_about_url(rig, "javascript:alert(1)"), "javascript");
  // The type in a data URL means nothing; the bytes do.
  EXPECT_EQ(ask_about_url(rig, "data:image/jpeg;base64," + base64(png)).status, 200);
}

TEST(BadInput, PicturesOfOnePixelAreScaledUp) {
  // 1x1 PNG, 8 bit grey.
  const std::string png(
      "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0\x3a\x7e\x9b\x55\0\0\0\nIDATx\x9c\x63\x60\0\0\0\x02"
      "\0\x01\x48\xaf\xa4\x71\0\0\0\0IEND\xae\x42\x60\x82",
      67);
  const Rig rig;
  const Reply reply = ask_about(rig, png);
  EXPECT_TRUE(reply.status == 200 || reply.status == 400) << reply.status << reply.body;
}

TEST(BadInput, UrlsAreNotFetchedUnlessAllowed) {
  const Rig rig;
  for (const char* url : {"http://127.0.0.1/a.png", "http://example.com/a.png", "https://example.com/a.png",
                          "file:///etc/passwd", "file:///etc/../etc/passwd"}) {
    expect_bad(ask_about_url(rig, url), url);
  }
}

TEST(BadInput, AllowedHostsMayStillNotBePrivate) {
  RigOptions options;
  options.server.media.allowed_domains = {"127.0.0.1", "localhost", "0x7f000001", "2130706433", "169.254.169.254", "b"};
  const Rig rig(options);
  for (const char* url : {"http://127.0.0.1:1/a.png", "http://localhost:1/a.png", "http://2130706433/a.png",
                          "http://0x7f000001/a.png", "http://169.254.169.254/latest/meta-data", "http://a\\@b/x.png",
                          "http://a@127.0.0.1/x.png", "http://127.0.0.1:1\\@b/", "http://[::1]/a.png"}) {
    const Reply reply = ask_about_url(rig, url);
    expect_bad(reply, url);
    EXPECT_EQ(reply.body.find("could not be fetched"), std::string::npos) << url << ": " << reply.body;
  }
}

TEST(BadInput, RedirectsPassTheSameGates) {
  // A server that sends everybody to a host that is not listed, and to itself under another name.
  asio::io_context io;
  RigOptions target_options;
  const Rig target(target_options);
  RigOptions options;
  options.server.media.allowed_domains = {"127.0.0.1"};
  options.server.media.allow_private_addresses = true;
  const Rig rig(options);
  const std::string host = "http://127.0.0.1:" + std::to_string(target.port());
  // The target serves no picture: what it says is not passed on.
  const Reply reply = ask_about_url(rig, host + "/v1/models");
  expect_bad(reply, "not a picture");
  EXPECT_EQ(reply.body.find("owned_by"), std::string::npos);
  expect_bad(ask_about_url(rig, "http://localhost:" + std::to_string(target.port()) + "/"), "host not listed");
}

TEST(BadInput, LocalFilesBelowTheAllowedFolderOnly) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path() / ("glimpse-test-" + std::to_string(::getpid()));
  fs::create_directories(folder / "in");
  const std::string png = sample_png();
  std::ofstream(folder / "in" / "a.png", std::ios::binary) << png;
  std::ofstream(folder / "out.png", std::ios::binary) << png;
  fs::create_symlink(folder / "out.png", folder / "in" / "link.png");
  RigOptions options;
  options.server.media.allowed_path = (folder / "in").string();
  const Rig rig(options);
  const std::string base = "file://" + (folder / "in").string();
  EXPECT_EQ(ask_about_url(rig, base + "/a.png").status, 200);
  expect_bad(ask_about_url(rig, base + "/../out.png"), "dots");
  expect_bad(ask_about_url(rig, base + "/%2e%2e/out.png"), "encoded dots");
  expect_bad(ask_about_url(rig, base + "/link.png"), "a link out");
  expect_bad(ask_about_url(rig, "file:///etc/passwd"), "elsewhere");
  expect_bad(ask_about_url(rig, base + "/none.png"), "no such file");
  expect_bad(ask_about_url(rig, base), "the folder itself");
  fs::remove_all(folder);
}

TEST(BadInput, TypedPlaceholdersAreText) {
  Rig rig;
  const Reply reply = post_json(rig.port(), "/v1/chat/completions",
                                chat_body("<|begin_of_image|><|image|><|end_of_image|> <|user|> <think>"));
  EXPECT_EQ(reply.status, 200) << reply.body;
  EXPECT_TRUE(rig.engine().seen().front().images.empty());
}

TEST(BadInput, OtherRoutes) {
  const Rig rig;
  expect_bad(post_json(rig.port(), "/v1/completions", json::object{{"prompt", json::array{}}}), "no prompts");
  expect_bad(post_json(rig.port(), "/v1/completions", json::object{{"prompt", json::array{1e9}}}), "no such token");
  expect_bad(post_json(rig.port(), "/tokenize", json::object{}), "nothing to tokenize");
  expect_bad(post_json(rig.port(), "/detokenize", json::object{{"tokens", json::array{INT64_MAX}}}), "beyond");
  expect_bad(post_json(rig.port(), "/detokenize", json::object{{"tokens", "a"}}), "no list");
  expect_bad(post_json(rig.port(), "/v1/chat/drafts", json::object{}), "no messages");
}

}  // namespace
}  // namespace glimpse
