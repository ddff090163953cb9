#include "server/websocket_session.h"

#include <fmt/format.h>

#include "server/error_response.h"
#include "server/log.h"

namespace glimpse {

namespace {

constexpr size_t kMaxRunning = 32;    // requests of a connection at once
constexpr size_t kMaxPictures = 256;  // names that a connection may use
constexpr size_t kMaxIncoming = 64;   // announced and not complete
constexpr size_t kMaxIdBytes = 128;

double milliseconds(int64_t ns) {
  return static_cast<double>(ns / 1000) / 1e3;
}

double duration_ms(const std::vector<SpanRecord>& spans, Span which) {
  int64_t ns = 0;
  for (const SpanRecord& span : spans) {
    if (span.span == which) ns += span.end_ns - span.begin_ns;
  }
  return milliseconds(ns);
}

}  // namespace

struct WebSocketSession::Incoming {
  std::string id;
  std::string filename;
  size_t size = 0;
  int64_t begin_ns = 0;
  std::shared_ptr<Picture> picture = std::make_shared<Picture>();
  Sha256 hash;
};

// Turns server-sent events into frames.
class WebSocketSession::Sink final : public GenerationSink {
 public:
  Sink(WebSocketStream& stream, const std::string& id)
      : stream_(stream), prefix_(",\"id\":" + json::serialize(json::string(id))) {}

  void begin(const LatencyAccount&) override {}

  bool congested() const override { return stream_.congested(); }

  bool write(std::string_view events) override {
    bool open = true;
    while (!events.empty()) {
      const std::string_view event = events.substr(0, events.find("\n\n"));
      events.remove_prefix(std::min(event.size() + 2, events.size()));
      constexpr std::string_view kData = "data: ";
      if (!event.starts_with(kData)) continue;  // a comment
      const std::string_view data = event.substr(kData.size());
      if (data == "[DONE]") continue;
      std::string frame;
      frame.reserve(data.size() + prefix_.size() + 40);
      if (data.starts_with("{\"error\":")) {
        frame.append("{\"type\":\"error\"").append(prefix_).append(",").append(data.substr(1));
      } else {
        frame.append("{\"type\":\"chat.chunk\"").append(prefix_).append(",\"data\":").append(data).append("}");
      }
      open = stream_.write(std::move(frame));
    }
    return open;
  }

 private:
  WebSocketStream& stream_;
  const std::string prefix_;
};

WebSocketSession::WebSocketSession(Service& service, std::shared_ptr<WebSocketStream> stream, std::string owner,
                                   std::string client)
    : service_(service), stream_(std::move(stream)), owner_(std::move(owner)), client_(std::move(client)) {}

Task<void> WebSocketSession::run() {
  json::array models;
  for (const std::string& name : service_.model.options().served_names) models.emplace_back(name);
  send({{"type", "hello"}, {"protocol", "glimpse.v1"}, {"models", std::move(models)}});
  for (;;) {
    const auto message = co_await stream_->read();
    if (!message) break;
    if (message->binary) {
      on_binary(message->bytes, message->last);
    } else {
      on_text(message->bytes, service_.clock.now_ns());
    }
  }
  for (auto& [id, job] : running_) job->cancel();
}

void WebSocketSession::drain() {
  draining_ = true;
  if (running_.empty()) stream_->close(1001, "the server is shutting down");
}

void WebSocketSession::on_text(std::string_view text, int64_t arrival_ns) {
  auto message = parse_body(text);
  std::string id;
  std::optional<ApiError> error;
  if (!message) {
    error = message.error();
  } else if (!message->is_object()) {
    error = invalid_request("", "a message is a JSON object");
  } else {
    const json::object& object = message->get_object();
    if (const json::value* given = find(object, "id"); given != nullptr && given->is_string()) {
      id = given->get_string();
    }
    if (id.size() > kMaxIdBytes) id.resize(kMaxIdBytes);
    const ApiStatus status = on_message(object, arrival_ns);
    if (!status) error = status.error();
  }
  if (error) send_error(id, *error);
}

ApiStatus WebSocketSession::on_message(const json::object& message, int64_t arrival_ns) {
  const auto type = get_string(message, "type", "");
  if (!type) return to_api_error(type.error(), "type");
  if (*type == "clock" || *type == "ping") {
    json::object answer = {{"type", *type == "clock" ? "clock" : "pong"}};
    if (const json::value* t0 = find(message, "t0"); t0 != nullptr && t0->is_number()) answer["t0"] = *t0;
    send(std::move(answer));
    return kApiOk;
  }
  const auto id = get_string(message, "id", "");
  if (!id) return to_api_error(id.error(), "id");
  if (id->empty() || id->size() > kMaxIdBytes) {
    return invalid_request("id", fmt::format("the message needs an id of 1 to {} bytes", kMaxIdBytes));
  }
  if (*type == "image") return announce_picture(message);
  if (*type == "cancel") {
    const auto found = running_.find(*id);
    if (found != running_.end()) found->second->cancel();
    // A picture that has not all come: its client sends no more of it.
    std::erase_if(incoming_, [&](const auto& incoming) { return incoming->id == *id; });
    return kApiOk;
  }
  if (*type == "chat" || *type == "draft") {
    ASSIGN_OR_RETURN(std::shared_ptr<Generation> job, start(message, *id, arrival_ns));
    auto work = *type == "chat" ? chat(*id, std::move(job)) : draft(*id, std::move(job));
    asio::co_spawn(service_.io, std::move(work), [self = shared_from_this(), id = *id](std::exception_ptr failure) {
      if (failure) self->send_error(id, http_error(500, "internal error"));
      self->finished(id);
    });
    return kApiOk;
  }
  return invalid_request("type", "the type is none of image, chat, draft, cancel, clock, ping");
}

ApiResult<std::shared_ptr<Generation>> WebSocketSession::start(const json::object& message, const std::string& id,
                                                               int64_t arrival_ns) {
  if (draining_) return unavailable("the server is shutting down", 10);
  if (running_.contains(id)) return invalid_request("id", "a request with this id is running");
  if (running_.size() >= kMaxRunning) return overloaded("too many requests on this connection", 1);
  if (const auto wait_s = service_.http.take_turn(owner_, client_)) return overloaded("rate limit", *wait_s);
  const json::value* request = find(message, "request");
  if (request == nullptr || !request->is_object()) {
    return invalid_request("request", "the message needs a request, as for /v1/chat/completions");
  }
  const auto job = service_.generations.make({.body = json::serialize(*request),
                                              .owner = owner_,
                                              .request_id = "ws-" + service_.http.new_request_id(),
                                              .arrival_ns = arrival_ns,
                                              .received_ns = arrival_ns,
                                              .attachments = pictures_});
  running_.emplace(id, job);
  return job;
}

void WebSocketSession::finished(const std::string& id) {
  running_.erase(id);
  if (draining_ && running_.empty()) stream_->close(1001, "the server is shutting down");
}

Task<void> WebSocketSession::chat(std::string id, std::shared_ptr<Generation> job) {
  Sink sink(*stream_, id);
  const std::optional<HttpResponse> response = co_await service_.generations.run(job, sink);
  if (response && response->status >= 400) {
    auto body = parse_json(response->body);
    json::object message = {{"type", "error"}, {"id", id}, {"status", response->status}};
    if (body && body->is_object()) message["error"] = body->get_object()["error"];
    for (const auto& [name, value] : response->headers) {
      if (name == "retry-after") message["retry_after_s"] = std::stoi(value);
    }
    send(std::move(message));
    co_return;
  }
  if (response) {
    std::string frame =
        "{\"type\":\"chat.response\",\"id\":" + json::serialize(json::string(id)) + ",\"data\":" + response->body + "}";
    stream_->write(std::move(frame));
  }
  send({{"type", "chat.done"}, {"id", id}, {"cancelled", job->is_cancelled()}});
}

Task<void> WebSocketSession::draft(std::string id, std::shared_ptr<Generation> job) {
  const auto outcome = co_await service_.run_draft("draft-" + job->input.request_id, job);
  if (!outcome) {
    send_error(id, outcome.error());
    co_return;
  }
  send({{"type", "draft.done"},
        {"id", id},
        {"status", draft_status(*outcome)},
        {"prompt_tokens", outcome->num_prompt_tokens},
        {"cached_tokens", outcome->num_cached_tokens},
        {"image_tokens", outcome->num_image_tokens}});
}

// Pictures ------------------------------------------------------------------------------------------------------------

ApiStatus WebSocketSession::announce_picture(const json::object& message) {
  const auto size = get_int(message, "size", 0);
  const auto filename = get_string(message, "filename", "");
  if (!size) return to_api_error(size.error(), "size");
  if (!filename) return to_api_error(filename.error(), "filename");
  const auto limit = std::min<uint64_t>(service_.options.connection.max_body_bytes, service_.options.files.max_bytes);
  if (*size < 1 || static_cast<uint64_t>(*size) > limit) {
    return invalid_request("size", fmt::format("a picture has 1 to {} bytes", limit));
  }
  if (incoming_.size() >= kMaxIncoming) return overloaded("too many pictures are announced", 1);
  auto incoming = std::make_unique<Incoming>();
  incoming->id = std::string(message.at("id").get_string());
  incoming->filename = filename->substr(0, 255);
  incoming->size = static_cast<size_t>(*size);
  incoming_.push_back(std::move(incoming));
  return kApiOk;
}

// Binary messages belong to the oldest picture that is not complete. One picture may take several messages, so that
// questions can go in between; one message is never about two pictures.
void WebSocketSession::on_binary(std::string_view bytes, bool last) {
  if (incoming_.empty()) {
    if (last) send_error("", invalid_request("", "a binary message came without an image message before it"));
    return;
  }
  Incoming& incoming = *incoming_.front();
  if (incoming.begin_ns == 0) incoming.begin_ns = service_.clock.now_ns();
  if (incoming.picture->bytes.size() + bytes.size() > incoming.size) {
    send({{"type", "image.failed"},
          {"id", incoming.id},
          {"error", json::parse(error_body(invalid_request("size", "more bytes came than were announced")))
                        .get_object()["error"]}});
    incoming_.pop_front();
    return;
  }
  incoming.hash.update(bytes);
  incoming.picture->bytes.append(bytes);
  if (incoming.picture->bytes.size() == incoming.size) picture_complete();
}

void WebSocketSession::picture_complete() {
  const std::unique_ptr<Incoming> incoming = std::move(incoming_.front());
  incoming_.pop_front();
  incoming->picture->sha256 = incoming->hash.finish();
  incoming->picture->receive = {Span::kReceive, incoming->begin_ns, service_.clock.now_ns()};
  StoredFile file{.owner = owner_, .filename = incoming->filename, .purpose = "vision", .picture = incoming->picture};
  const std::string& id = incoming->id;
  const std::weak_ptr<WebSocketSession> weak = weak_from_this();
  const auto failed = [](const std::string& name, const ApiError& error) {
    return json::object{
        {"type", "image.failed"}, {"id", name}, {"error", json::parse(error_body(error)).get_object()["error"]}};
  };
  const auto on_prepared = [weak, id, failed](const FilePtr& stored) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    if (!stored->failure.empty()) {
      self->send(failed(id, invalid_image("", stored->failure)));
      return;
    }
    self->send({{"type", "image.decoded"},
                {"id", id},
                {"decode_ms", duration_ms(stored->spans, Span::kDecodeImage)},
                {"preprocess_ms", duration_ms(stored->spans, Span::kPreprocess)}});
  };
  const auto on_encoded = [weak, id, begin_ns = incoming->begin_ns](const FilePtr& stored) {
    const auto self = weak.lock();
    if (self == nullptr) return;
    double vision_ms = 0;  // stays 0 where another upload of the picture has paid for it
    if (stored->image) {
      std::vector<SpanRecord> spans = stored->image->spans();
      std::erase_if(spans, [begin_ns](const SpanRecord& span) { return span.end_ns < begin_ns; });
      vision_ms = duration_ms(spans, Span::kVision);
    }
    self->send({{"type", "image.encoded"}, {"id", id}, {"vision_ms", vision_ms}});
  };
  const auto stored = service_.accept_picture(std::move(file), "image", on_prepared, on_encoded);
  if (!stored) {
    send(failed(id, stored.error()));
    return;
  }
  if (!pictures_.contains(id)) picture_ages_.push_back(id);
  pictures_[id] = {(*stored)->picture, *stored};
  if (picture_ages_.size() > kMaxPictures) {
    pictures_.erase(picture_ages_.front());
    picture_ages_.pop_front();
  }
  send({{"type", "image.received"},
        {"id", id},
        {"file_id", (*stored)->id},
        {"bytes", incoming->size},
        {"sha256", to_hex((*stored)->picture->sha256)},
        {"width", (*stored)->width},
        {"height", (*stored)->height},
        {"image_tokens", (*stored)->num_tokens}});
}

void WebSocketSession::send(json::object message) {
  message["server_ms"] = milliseconds(service_.clock.now_ns());
  stream_->write(to_text(message));
}

void WebSocketSession::send_error(const std::string& id, const ApiError& error) {
  json::object message = {
      {"type", "error"}, {"status", error.status}, {"error", json::parse(error_body(error)).get_object()["error"]}};
  if (!id.empty()) message["id"] = id;
  if (error.retry_after_s) message["retry_after_s"] = *error.retry_after_s;
  send(std::move(message));
}

// The route -----------------------------------------------------------------------------------------------------------

void add_websocket_route(Service& service) {
  auto handler = [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    const HttpRequest& request = exchange.request;
    if (!equals_ignoring_case(request.header("upgrade"), "websocket")) {
      HttpResponse response = error_response(HttpFault{426, "this route speaks WebSocket"});
      response.headers.emplace_back("upgrade", "websocket");
      co_return response;
    }
    // Browsers let any site's page open a WebSocket; the key, or the origin, tells ours from theirs.
    if (!service.http.allows_websocket_origin(request)) {
      co_return error_response(HttpFault{403, "this origin is not allowed"});
    }
    if (request.has_body || exchange.connection().has_unread_bytes()) {
      co_return error_response(HttpFault{400, "nothing may follow the handshake before it is answered"});
    }
    const bool named = request.header("sec-websocket-protocol").find("glimpse.v1") != std::string_view::npos;
    const WebSocketLimits limits{.max_message_bytes = service.options.connection.max_body_bytes,
                                 .max_pending_bytes = service.options.connection.max_pending_bytes,
                                 .idle_timeout_ms = service.options.connection.idle_timeout_ms};
    const auto stream =
        co_await WebSocketStream::accept(exchange.connection(), request, named ? "glimpse.v1" : "", limits);
    if (stream == nullptr) co_return std::nullopt;
    const auto session = std::make_shared<WebSocketSession>(service, stream, exchange.owner, exchange.request.client);
    service.sessions.push_back(session);
    co_await session->run();
    std::erase_if(service.sessions,
                  [&session](const auto& other) { return other.expired() || other.lock() == session; });
    co_return std::nullopt;
  };
  service.http.router.add(
      {.method = "GET", .pattern = "/v1/chat/ws", .handler = std::move(handler), .websocket = true});
}

}  // namespace glimpse
