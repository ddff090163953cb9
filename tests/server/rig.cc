#include "tests/server/rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <future>

#include "base/check.h"
#include "base/mmap.h"
#include "server/http_message.h"
#include "server/log.h"
#include "tests/server/script_file.h"

namespace glimpse {

const ModelSource& mini_source() {
  static const ModelSource source = [] {
    auto opened = open_model("", LoadFormat::kDummy);
    CHECK(opened.has_value());
    return *std::move(opened);
  }();
  return source;
}

Rig::Rig(RigOptions options) : options_(std::move(options)) {
  setup_log(false, LogLevel::kError);
  options_.server.port = 0;
  options_.server.log_requests = false;
  const auto script = ScriptFile::parse(options_.script);
  CHECK(script.has_value());
  engine_ = std::make_unique<ScriptedEngine>(options_.engine, script->bind(mini_source()), &steps_);
  model_ = std::make_unique<ApiModel>(mini_source(), ApiModelOptions{.served_names = {"mini", "alias"},
                                                                     .max_model_len = options_.engine.max_model_len});
  http_ = std::make_unique<HttpServer>(io_, options_.server, clock_);
  const Status bound = http_->bind();
  CHECK(bound.has_value());
  server_ = std::make_unique<Server>(io_, *http_, options_.server, clock_, *model_, *engine_, &steps_);
  http_->start();
  thread_ = std::thread([this] { io_.run(); });
}

Rig::~Rig() {
  io_.stop();
  thread_.join();
  server_.reset();
  http_.reset();
  engine_.reset();  // its callbacks refer to the io_context
}

void Rig::drain() {
  std::promise<void> begun;
  asio::post(io_, [&] {
    server_->drain([this] { drained_ = true; });
    begun.set_value();
  });
  begun.get_future().wait();
}

// Replies -------------------------------------------------------------------------------------------------------------

std::string Reply::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return value;
  }
  return {};
}

json::value Reply::json() const {
  auto value = parse_json(body);
  return value ? *std::move(value) : json::value();
}

std::string Reply::error_message() const {
  const json::value value = json();
  if (!value.is_object()) return {};
  const json::value* error = find(value.get_object(), "error");
  if (error == nullptr || !error->is_object()) return {};
  const json::value* message = find(error->get_object(), "message");
  return message != nullptr && message->is_string() ? std::string(message->get_string()) : std::string();
}

Client::Client(uint16_t port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer > 0) ::setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0, errno);
  const timeval limit{.tv_sec = 10, .tv_usec = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int yes = 1;
  ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

Client::~Client() {
  close();
}

void Client::close() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;  // the server has closed; the reply tells why
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

void Client::shutdown_send() {
  ::shutdown(socket_, SHUT_WR);
}

bool Client::fill() {
  char bytes[65536];
  const ssize_t got = ::recv(socket_, bytes, sizeof bytes, 0);
  if (got <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(got));
  return true;
}

std::string Client::receive() {
  if (buffer_.empty()) fill();
  return std::exchange(buffer_, {});
}

Reply Client::reply(bool head_only) {
  Reply reply;
  size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) return reply;
  }
  const std::string head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  reply.status = std::stoi(head.substr(head.find(' ') + 1));
  for (size_t at = head.find("\r\n") + 2; at < head.size();) {
    const size_t line_end = head.find("\r\n", at);
    const size_t colon = head.find(": ", at);
    reply.headers.emplace_back(to_lower(std::string_view(head).substr(at, colon - at)),
                               head.substr(colon + 2, line_end - colon - 2));
    at = line_end + 2;
  }
  if (reply.status == 100) return this->reply(head_only);
  if (head_only || reply.status == 204 || reply.status == 304) return reply;
  if (reply.header("transfer-encoding") == "chunked") {
    for (;;) {
      size_t line = 0;
      while ((line = buffer_.find("\r\n")) == std::string::npos) {
        if (!fill()) return reply;
      }
      size_t size = 0;
      std::from_chars(buffer_.data(), buffer_.data() + line, size, 16);
      while (buffer_.size() < line + 2 + size + 2) {
        if (!fill()) return reply;
      }
      reply.body += buffer_.substr(line + 2, size);
      buffer_.erase(0, line + 2 + size + 2);
      if (size == 0) return reply;
    }
  }
  const std::string length = reply.header("content-length");
  const size_t wanted = length.empty() ? SIZE_MAX : std::stoul(length);
  while (buffer_.size() < wanted && fill()) {
  }
  reply.body = buffer_.substr(0, wanted);
  buffer_.erase(0, reply.body.size());
  return reply;
}

std::string wire(std::string_view method, std::string_view path, std::string_view body,
                 const std::vector<std::string>& headers) {
  std::string bytes = std::string(method) + " " + std::string(path) + " HTTP/1.1\r\nhost: localhost\r\n";
  for (const std::string& header : headers) bytes += header + "\r\n";
  if (!body.empty() || method == "POST") bytes += "content-length: " + std::to_string(body.size()) + "\r\n";
  return bytes + "\r\n" + std::string(body);
}

Reply request(uint16_t port, std::string_view method, std::string_view path, std::string_view body,
              const std::vector<std::string>& headers) {
  Client client(port);
  client.send(wire(method, path, body, headers));
  return client.reply(method == "HEAD");
}

Reply post_json(uint16_t port, std::string_view path, const json::value& body,
                const std::vector<std::string>& headers) {
  std::vector<std::string> all = headers;
  all.push_back("content-type: application/json");
  return request(port, "POST", path, json::serialize(body), all);
}

std::vector<json::value> events_of(std::string_view body) {
  std::vector<json::value> events;
  while (!body.empty()) {
    const std::string_view event = body.substr(0, body.find("\n\n"));
    body.remove_prefix(std::min(event.size() + 2, body.size()));
    if (!event.starts_with("data: ")) continue;
    auto value = parse_json(event.substr(6));
    events.push_back(value ? *std::move(value) : json::value(json::string(event.substr(6))));
  }
  return events;
}

json::object chat_body(std::string_view text, bool stream) {
  return {{"model", "mini"},
          {"messages", json::array{json::object{{"role", "user"}, {"content", text}}}},
          {"stream", stream}};
}

json::object picture_chat_body(std::string_view picture_bytes, std::string_view text) {
  json::array content = {
      json::object{{"type", "image_url"},
                   {"image_url", json::object{{"url", "data:image/png;base64," + base64(picture_bytes)}}}},
      json::object{{"type", "text"}, {"text", text}}};
  return {{"model", "mini"},
          {"messages", json::array{json::object{{"role", "user"}, {"content", std::move(content)}}}}};
}

std::string base64(std::string_view bytes) {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t bits = 0;
    for (size_t j = 0; j < 3; ++j) bits = bits << 8 | (i + j < bytes.size() ? static_cast<uint8_t>(bytes[i + j]) : 0);
    for (size_t j = 0; j < 4; ++j) text += i + j > bytes.size() ? '=' : kAlphabet[bits >> (18 - 6 * j) & 63];
  }
  return text;
}

std::string sample_png() {
  auto bytes = read_file(GLIMPSE_SOURCE_DIR "/models/glimpse-mini/samples/02_describe.png", size_t{16} << 20);
  CHECK(bytes.has_value());
  return *std::move(bytes);
}

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace glimpse
