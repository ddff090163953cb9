// A plain API client, the yardstick for the chat page: one kept connection, one streamed chat completion per line of
// standard input, its times on standard output. Driven by web/bench/page.mjs.
//   page_api_client HOST PORT
// Input:  {"picture": "PATH" | "", "file_id": "file-…" | "", "question": "…", "max_tokens": 64}
// Output: {"ttft_ms": request begun → first text received, "total_ms": → end of the stream, "prompt_tokens": n, "text":
// "…"} A picture is read from disk before the clock starts and base64-encoded after: a client has to do the latter.

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
namespace json = boost::json;
using Clock = std::chrono::steady_clock;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

std::string base64(const std::string& bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) group = group << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kDigits[group >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string field(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

class Client {
 public:
  Client(std::string host, std::string port) : host_(std::move(host)), port_(std::move(port)), stream_(io_) {
    asio::ip::tcp::resolver resolver(io_);
    stream_.connect(resolver.resolve(host_, port_));
    stream_.socket().set_option(asio::ip::tcp::no_delay(true));
  }

  json::object run(const json::object& order) {
    std::string picture;
    if (const std::string path = field(order, "picture"); !path.empty()) {
      std::ifstream file(path, std::ios::binary);
      picture.assign(std::istreambuf_iterator<char>(file), {});
    }
    begin_ = Clock::now();
    ttft_ms_ = 0;
    text_.clear();
    prompt_tokens_ = 0;
    send(order, picture);
    receive();
    return {{"ttft_ms", ttft_ms_}, {"total_ms", ms_since(begin_)}, {"prompt_tokens", prompt_tokens_}, {"text", text_}};
  }

 private:
  void send(const json::object& order, const std::string& picture) {
    json::array parts;
    std::string url = field(order, "file_id");
    if (!picture.empty()) url = "data:image/jpeg;base64," + base64(picture);
    if (!url.empty()) parts.push_back({{"type", "image_url"}, {"image_url", {{"url", url}}}});
    parts.push_back({{"type", "text"}, {"text", field(order, "question")}});
    json::object body{{"messages", json::array{json::object{{"role", "user"}, {"content", std::move(parts)}}}},
                      {"stream", true},
                      {"stream_options", {{"include_usage", true}}},
                      {"chat_template_kwargs", {{"enable_thinking", false}}}};
    if (const json::value* most = order.if_contains("max_tokens")) body["max_tokens"] = *most;
    if (const json::value* least = order.if_contains("min_tokens")) body["min_tokens"] = *least;
    http::request<http::string_body> request{http::verb::post, "/v1/chat/completions", 11};
    request.set(http::field::host, host_ + ":" + port_);
    request.set(http::field::content_type, "application/json");
    request.body() = json::serialize(body);
    request.prepare_payload();
    http::write(stream_, request);
  }

  void receive() {
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    http::read_header(stream_, buffer_, parser);
    if (parser.get().result() != http::status::ok) throw std::runtime_error("the server refused the request");
    std::string pending;
    std::array<char, 16384> piece;
    while (!parser.is_done()) {
      parser.get().body() = {.data = piece.data(), .size = piece.size(), .more = true};
      beast::error_code error;
      // read_some: whatever is there, at once. read would wait for a full buffer.
      http::read_some(stream_, buffer_, parser, error);
      if (error && error != http::error::need_buffer) throw beast::system_error(error);
      pending.append(piece.data(), piece.size() - parser.get().body().size);
      for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
        on_line(std::string_view(pending).substr(0, end));
      }
    }
  }

  void on_line(std::string_view line) {
    if (!line.starts_with("data: {")) return;
    const json::object chunk = json::parse(line.substr(6)).as_object();
    if (const json::value* usage = chunk.if_contains("usage"); usage != nullptr && usage->is_object()) {
      prompt_tokens_ = usage->at("prompt_tokens").to_number<int64_t>();
    }
    const json::array& choices = chunk.at("choices").as_array();
    if (choices.empty()) return;
    const std::string text = field(choices[0].at("delta").as_object(), "content");
    if (!text.empty() && text_.empty()) ttft_ms_ = ms_since(begin_);
    text_ += text;
  }

  const std::string host_;
  const std::string port_;
  asio::io_context io_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  Clock::time_point begin_;
  double ttft_ms_ = 0;
  int64_t prompt_tokens_ = 0;
  std::string text_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: page_api_client HOST PORT\n");
    return 2;
  }
  try {
    Client client(argv[1], argv[2]);
    for (std::string line; std::getline(std::cin, line);) {
      std::cout << json::serialize(client.run(json::parse(line).as_object())) << std::endl;
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "page_api_client: %s\n", error.what());
    return 1;
  }
  return 0;
}
