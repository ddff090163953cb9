// Bad JSON, fields and pictures through the whole server; what is legal though odd is answered.

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

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

// What each field may be: n a number, i an integer, s a string, b true or false, a a list, o an object. Paths go
// through objects and lists; all the rest is made from this table.
struct Field {
  const char* path;
  const char* kinds;
};

constexpr Field kChatFields[] = {
    {"/model", "s"},
    {"/messages", "a"},
    {"/messages/0", "o"},
    {"/messages/0/role", "s"},
    {"/messages/0/content", "sa"},
    {"/messages/0/content/0", "so"},
    {"/messages/0/content/0/type", "s"},
    {"/messages/0/content/0/text", "s"},
    {"/messages/0/content/1/image_url", "so"},
    {"/messages/0/content/1/image_url/url", "s"},
    {"/messages/0/content/1/image_url/detail", "s"},
    {"/max_tokens", "i"},
    {"/max_completion_tokens", "i"},
    {"/n", "i"},
    {"/seed", "i"},
    {"/top_k", "i"},
    {"/min_tokens", "i"},
    {"/top_logprobs", "i"},
    {"/priority", "i"},
    {"/temperature", "ni"},
    {"/top_p", "ni"},
    {"/min_p", "ni"},
    {"/frequency_penalty", "ni"},
    {"/presence_penalty", "ni"},
    {"/repetition_penalty", "ni"},
    {"/stop", "sa"},
    {"/stop_token_ids", "a"},
    {"/allowed_token_ids", "a"},
    {"/logit_bias", "o"},
    {"/logprobs", "b"},
    {"/stream", "b"},
    {"/stream_options", "o"},
    {"/stream_options/include_usage", "b"},
    {"/stream_options/continuous_usage_stats", "b"},
    {"/response_format", "o"},
    {"/response_format/type", "s"},
    {"/structured_outputs", "o"},
    {"/structured_outputs/choice", "a"},
    {"/structured_outputs/regex", "s"},
    {"/guided_regex", "s"},
    {"/guided_choice", "a"},
    {"/tools", "a"},
    {"/tools/0", "o"},
    {"/tools/0/function", "o"},
    {"/tools/0/function/name", "s"},
    {"/tools/0/function/parameters", "o"},
    {"/tool_choice", "so"},
    {"/parallel_tool_calls", "b"},
    {"/reasoning_effort", "s"},
    {"/chat_template_kwargs", "o"},
    {"/thinking", "o"},
    {"/thinking/type", "s"},
    {"/enable_thinking", "b"},
    {"/include_reasoning", "b"},
    {"/return_reasoning", "b"},
    {"/ignore_eos", "b"},
    {"/include_stop_str_in_output", "b"},
    {"/skip_special_tokens", "b"},
    {"/return_token_ids", "b"},
    {"/return_tokens_as_token_ids", "b"},
    {"/add_generation_prompt", "b"},
    {"/continue_final_message", "b"},
    {"/do_sample", "b"},
    {"/cache_salt", "s"},
    {"/request_id", "s"},
};
constexpr Field kCompletionFields[] = {
    {"/model", "s"},    {"/prompt", "sa"},      {"/max_tokens", "i"}, {"/n", "i"},
    {"/logprobs", "i"}, {"/echo", "b"},         {"/stream", "b"},     {"/stop", "sa"},
    {"/seed", "i"},     {"/temperature", "ni"}, {"/logit_bias", "o"}, {"/stream_options", "o"}};
constexpr Field kTokenizeFields[] = {{"/prompt", "s"}, {"/model", "s"}};
constexpr Field kDetokenizeFields[] = {{"/tokens", "a"}, {"/model", "s"}};

// A body in which every path of the table has something to be put in place of.
json::value chat_with_everything() {
  json::value body = picture_chat_body(sample_png(), "what?");
  json::value& content = body.at("messages").at(0).at("content");
  std::swap(content.at(0), content.at(1));
  json::object& fields = body.as_object();
  for (const char* name : {"stream_options", "structured_outputs", "response_format", "thinking"}) {
    fields[name] = json::object{};
  }
  fields["response_format"] = json::object{{"type", "text"}};
  fields["tools"] = json::array{
      json::object{{"type", "function"}, {"function", json::object{{"name", "look"}, {"parameters", json::object{}}}}}};
  fields["stream"] = false;
  return body;
}

void put(json::value& body, std::string_view path, const json::value& value) {
  const size_t slash = path.rfind('/');
  json::value& parent = slash == 0 ? body : body.at_pointer(path.substr(0, slash));
  const std::string key(path.substr(slash + 1));
  if (parent.is_array()) {
    parent.as_array().at(std::stoul(key)) = value;
  } else {
    parent.as_object()[key] = value;
  }
}

// Puts each kind of value in the place of each field: the wrong ones give 400 and a sentence, null what was not given,
// the right ones anything but a fault of the server.
void expect_types(std::string_view route, const json::value& good, std::span<const Field> fields) {
  const Rig rig;
  ASSERT_EQ(post_json(rig.port(), route, good).status, 200) << json::serialize(good).substr(0, 500);
  const std::pair<char, json::value> values[] = {
      {'n', 1.5}, {'i', 1}, {'s', "text"}, {'b', true}, {'a', json::array{1.5}}, {'o', json::object{{"a", 1.5}}}};
  for (const Field& field : fields) {
    for (const auto& [kind, value] : values) {
      json::value body = good;
      if (std::string_view(field.path).starts_with("/stream_options")) body.as_object()["stream"] = true;
      if (std::string_view(field.path) == "/top_logprobs") body.as_object()["logprobs"] = true;
      put(body, field.path, value);
      const Reply reply = post_json(rig.port(), route, body);
      const std::string what = std::string(route) + field.path + " = " + json::serialize(value);
      if (std::string_view(field.kinds).find(kind) == std::string_view::npos) {
        expect_bad(reply, what);
      } else {
        EXPECT_TRUE(reply.status == 200 || reply.status == 400 || reply.status == 404) << what << ": " << reply.status;
      }
    }
    const std::string_view path = field.path;
    if (path.rfind('/') != 0 || path == "/messages" || path == "/prompt" || path == "/tokens") continue;
    json::value body = good;
    put(body, path, nullptr);
    EXPECT_EQ(post_json(rig.port(), route, body).status, 200) << path << " = null";
  }
}

TEST(BadInput, EveryFieldOfEveryWrongType) {
  expect_types("/v1/chat/completions", chat_with_everything(), kChatFields);
  expect_types("/v1/completions", json::object{{"prompt", "Once"}, {"max_tokens", 5}}, kCompletionFields);
  expect_types("/tokenize", json::object{{"prompt", "Once"}}, kTokenizeFields);
  expect_types("/detokenize", json::object{{"tokens", json::array{5}}}, kDetokenizeFields);
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
      "\x89\x50\x4e\x47\x0d\x0a\x1a\x0a\x00\x00\x00\x0d\x49\x48\x44\x52\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00"
      "\x00\x3a\x7e\x9b\x55\x00\x00\x00\x0a\x49\x44\x41\x54\x78\x9c\x63\x68\x00\x00\x00\x82\x00\x81\x77\xcd\x72\xb6\x00"
      "\x00\x00\x00\x49\x45\x4e\x44\xae\x42\x60\x82",
      67);
  Rig rig;
  const Reply reply = ask_about(rig, png);
  ASSERT_EQ(reply.status, 200) << reply.body;
  // As the reference does: to the smallest grid that min_pixels allows, a square.
  const GridThw grid = rig.engine().seen().front().prompt.grids.at(0);
  EXPECT_EQ(grid.h, grid.w);
  const auto& image = mini_source().image;
  const int64_t side = grid.h * int64_t{image.patch_size};
  EXPECT_GE(side * side * image.temporal_patch_size, image.min_pixels);
  EXPECT_EQ(reply.json().at("usage").at("prompt_tokens_details").at("image_tokens"), grid.h * grid.w / 4);
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

// A web server that gives what it is told to, and counts who comes.
class WebServer {
 public:
  explicit WebServer(const char* address) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    ::inet_pton(AF_INET, address, &where.sin_addr);
    socklen_t size = sizeof where;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&where), size), 0);
    EXPECT_EQ(::listen(socket_, 16), 0);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&where), &size);
    url = "http://" + std::string(address) + ":" + std::to_string(ntohs(where.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  ~WebServer() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
  }
  WebServer(const WebServer&) = delete;
  WebServer& operator=(const WebServer&) = delete;

  std::string url;
  std::atomic<int> visits{0};
  std::map<std::string, std::string> redirects;  // path to location; set before anybody comes

 private:
  void serve() {
    for (int client = 0; (client = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0; ::close(client)) {
      ++visits;
      std::string head;
      char bytes[4096];
      for (ssize_t got = 0; head.find("\r\n\r\n") == std::string::npos;) {
        if ((got = ::recv(client, bytes, sizeof bytes, 0)) <= 0) break;
        head.append(bytes, static_cast<size_t>(got));
      }
      const size_t begin = head.find(' ') + 1;
      const auto found = redirects.find(head.substr(begin, head.find(' ', begin) - begin));
      const std::string body = found == redirects.end() ? sample_png() : "";
      std::string answer = found == redirects.end() ? "HTTP/1.1 200 OK\r\n"
                                                    : "HTTP/1.1 302 Found\r\nlocation: " + found->second + "\r\n";
      answer += "content-length: " + std::to_string(body.size()) + "\r\nconnection: close\r\n\r\n" + body;
      for (std::string_view rest = answer; !rest.empty();) {
        const ssize_t sent = ::send(client, rest.data(), rest.size(), MSG_NOSIGNAL);
        if (sent <= 0) break;
        rest.remove_prefix(static_cast<size_t>(sent));
      }
    }
  }

  int socket_;
  std::thread thread_;
};

TEST(BadInput, RedirectsPassTheSameGates) {
  WebServer allowed("127.0.0.2");
  WebServer inside("127.0.0.1");
  const std::string port = inside.url.substr(inside.url.rfind(':'));
  allowed.redirects = {{"/hop", allowed.url + "/picture"},
                       {"/relative", "/picture"},
                       {"/loop", "/loop"},
                       {"/private", inside.url + "/picture"},
                       {"/name", "http://localhost" + port + "/picture"},
                       {"/decimal", "http://2130706433" + port + "/picture"},
                       {"/unlisted", "http://169.254.169.254/latest/meta-data"},
                       {"/user", "http://a@127.0.0.2" + port + "/picture"},
                       {"/file", "file:///etc/passwd"},
                       {"/hop-private", "/private"}};
  RigOptions options;
  options.server.media.allowed_domains = {"127.0.0.2", "127.0.0.1", "localhost", "2130706433"};
  options.server.media.private_addresses = {"127.0.0.2"};
  const Rig rig(options);
  for (const char* path : {"/picture", "/hop", "/relative"}) {
    EXPECT_EQ(ask_about_url(rig, allowed.url + path).status, 200) << path;
  }
  for (const auto& [path, location] : allowed.redirects) {
    if (path == "/hop" || path == "/relative") continue;
    const int before = allowed.visits;
    const Reply reply = ask_about_url(rig, allowed.url + path);
    expect_bad(reply, path);
    EXPECT_GT(allowed.visits, before) << path << ": the first host is asked";
    EXPECT_EQ(reply.body.find("root:"), std::string::npos);
  }
  EXPECT_EQ(inside.visits, 0);
  expect_bad(ask_about_url(rig, inside.url + "/picture"), "straight to the private one");
  EXPECT_EQ(inside.visits, 0);

  options.server.media.allow_redirects = false;
  const Rig strict(options);
  EXPECT_EQ(ask_about_url(strict, allowed.url + "/picture").status, 200);
  expect_bad(ask_about_url(strict, allowed.url + "/hop"), "a redirect");
}

TEST(BadInput, WhatAnAllowedHostSaysIsNotPassedOn) {
  const Rig target;
  RigOptions options;
  options.server.media.allowed_domains = {"127.0.0.1"};
  options.server.media.private_addresses = {"127.0.0.1"};
  const Rig rig(options);
  const Reply reply = ask_about_url(rig, "http://127.0.0.1:" + std::to_string(target.port()) + "/v1/models");
  expect_bad(reply, "not a picture");
  EXPECT_EQ(reply.body.find("owned_by"), std::string::npos);
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
