// /v1/chat/completions and /v1/completions.

#include "server/error_response.h"
#include "server/multipart.h"
#include "server/service.h"
#include "server/upload.h"

namespace glimpse {

namespace {

// Server-sent events over HTTP.
class HttpSink final : public GenerationSink {
 public:
  explicit HttpSink(Exchange& exchange) : exchange_(exchange) {}

  void begin(const LatencyAccount& so_far) override {
    HttpResponse head{.content_type = "text/event-stream; charset=utf-8"};
    head.headers = {
        {"cache-control", "no-cache"}, {"x-accel-buffering", "no"}, {"server-timing", server_timing(so_far)}};
    exchange_.start_stream(head);
  }
  bool congested() const override { return exchange_.connection().congested(); }
  bool write(std::string_view events) override { return exchange_.write_stream(events); }

 private:
  Exchange& exchange_;
};

struct Received {
  std::string body;  // the request's JSON
  Attachments attachments;
  std::optional<HttpResponse> failure;
};

// JSON, or multipart with the JSON in the field "request" and pictures in parts that it names as file ids.
Task<Received> receive(Service& service, Exchange& exchange) {
  Received received;
  const std::string_view content_type = exchange.request.header("content-type");
  const uint64_t limit = service.options.connection.max_body_bytes;
  if (const auto boundary = Multipart::boundary(content_type)) {
    Uploads uploads = co_await receive_multipart(exchange, *boundary, limit, service.clock);
    received.failure = std::move(uploads.failure);
    received.body = std::move(uploads.fields["request"]);
    for (Upload& file : uploads.files) received.attachments[file.name] = {std::move(file.picture), nullptr};
    co_return received;
  }
  const std::string type = media_type(content_type);
  if (!type.empty() && type != "application/json") {
    received.failure = error_response(HttpFault{415, "the content-type has to be application/json"});
    co_return received;
  }
  Exchange::Body body = co_await exchange.read_all(limit);
  received.failure = std::move(body.failure);
  received.body = std::move(body.bytes);
  co_return received;
}

Task<std::optional<HttpResponse>> generate(Service& service, GenerationKind kind, Exchange& exchange) {
  Received received = co_await receive(service, exchange);
  if (received.failure) co_return std::move(received.failure);
  Generation::Input input{.kind = kind,
                          .body = std::move(received.body),
                          .owner = exchange.owner,
                          .request_id = exchange.request.id,
                          .arrival_ns = exchange.request.arrival_ns,
                          .received_ns = service.clock.now_ns(),
                          .attachments = std::move(received.attachments)};
  const std::shared_ptr<Generation> job = service.generations.make(std::move(input));
  exchange.connection().watch([job] { job->cancel(); });
  HttpSink sink(exchange);
  std::optional<HttpResponse> response = co_await service.generations.run(job, sink);
  exchange.connection().unwatch();
  if (response || !exchange.stream_started()) co_return response;
  if (job->is_cancelled()) {
    exchange.connection().close();
  } else {
    exchange.finish_stream();
  }
  co_return std::nullopt;
}

}  // namespace

void add_generation_routes(Service& service) {
  const auto add = [&service](std::string path, GenerationKind kind) {
    auto handler = [&service, kind](Exchange& exchange) { return generate(service, kind, exchange); };
    service.http.router.add(
        {.method = "POST", .pattern = std::move(path), .handler = std::move(handler), .limited = true});
  };
  add("/v1/chat/completions", GenerationKind::kChat);
  add("/v1/completions", GenerationKind::kCompletion);
}

}  // namespace glimpse
