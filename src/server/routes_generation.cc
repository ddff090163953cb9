// /v1/chat/completions and /v1/completions.

#include "server/error_response.h"
#include "server/service.h"

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
  bool write(std::string_view events) override { return exchange_.write_stream(events); }

 private:
  Exchange& exchange_;
};

Task<std::optional<HttpResponse>> generate(Service& service, GenerationKind kind, Exchange& exchange) {
  const std::string type = media_type(exchange.request.header("content-type"));
  if (!type.empty() && type != "application/json") {
    co_return error_response(HttpFault{415, "the content-type has to be application/json"});
  }
  Exchange::Body body = co_await exchange.read_all(service.options.connection.max_body_bytes);
  if (body.failure) co_return std::move(body.failure);
  Generation::Input input{.kind = kind,
                          .body = std::move(body.bytes),
                          .owner = exchange.owner,
                          .request_id = exchange.request.id,
                          .arrival_ns = exchange.request.arrival_ns,
                          .received_ns = service.clock.now_ns()};
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
