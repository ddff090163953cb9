// Health, version, load, metrics, traces: what operators and balancers ask.

#include "server/error_response.h"
#include "server/service.h"

namespace glimpse {

namespace {

HttpResponse json_response(const json::value& value, int status = 200) {
  return {.status = status, .body = to_text(value)};
}

json::object load_of(const Service& service, const DeviceUsage& device) {
  const EngineStats e = service.engine.stats();
  json::object load{{"server_load", service.generations.num_active()},
                    {"running", e.num_running},
                    {"waiting", e.num_waiting},
                    {"drafts", e.num_drafts},
                    {"blocks", e.num_blocks},
                    {"blocks_used", e.num_blocks_used},
                    {"blocks_cached", e.num_blocks_cached},
                    {"image_rows", e.image_rows},
                    {"image_rows_used", e.image_rows_used},
                    {"connections", service.http.num_connections()},
                    {"first_token_anomaly", service.metrics.first_token_anomaly()}};
  if (device.memory_total == 0) return load;  // the host, or nothing read yet
  json::object& gpu = load["gpu"].emplace_object();
  gpu["memory_used_bytes"] = device.memory_used;
  gpu["memory_total_bytes"] = device.memory_total;
  if (device.load >= 0) gpu["load_percent"] = device.load * 100;
  return load;
}

}  // namespace

void add_health_routes(Service& service) {
  Router& router = service.http.router;
  const auto get = [&router](std::string path, bool open, std::function<HttpResponse(Exchange&)> answer) {
    auto handler = [answer = std::move(answer)](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
      co_return answer(exchange);
    };
    router.add({.method = "GET", .pattern = std::move(path), .handler = std::move(handler), .open = open});
  };

  // Alive: the process answers. Ready: a balancer may send requests.
  for (const char* path : {"/healthz", "/livez", "/ping"}) {
    get(path, true, [](Exchange&) { return json_response(json::object{{"status", "ok"}}); });
  }
  for (const char* path : {"/health", "/ready", "/readyz"}) {
    get(path, true, [&service](Exchange&) {
      if (service.http.draining()) return retry_response(503, "the server is shutting down", 10);
      return json_response(json::object{{"status", "ok"}});
    });
  }
  get("/version", true,
      [&service](Exchange&) { return json_response(json::object{{"version", service.options.version}}); });
  const auto load = [&service](Exchange&) -> Task<std::optional<HttpResponse>> {
    co_return json_response(load_of(service, co_await service.device.read()));
  };
  router.add({.method = "GET", .pattern = "/load", .handler = load});
  get("/metrics", false, [&service](Exchange&) {
    service.drain_steps();
    HttpResponse response{.content_type = "text/plain; version=0.0.4; charset=utf-8"};
    response.body = service.metrics.text({.engine = service.engine.stats(),
                                          .connections = service.http.num_connections(),
                                          .file_bytes = service.files.bytes(),
                                          .file_count = service.files.count(),
                                          .preparation_waiting = service.preparation.waiting(),
                                          .pictures_prepared = service.preparation.counters().prepared,
                                          .picture_hits = service.preparation.counters().hits,
                                          .steps_lost = service.steps == nullptr ? 0 : service.steps->lost(),
                                          .answers = service.generations.answer_cache(),
                                          .draining = service.http.draining()});
    return response;
  });
  get("/v1/traces/{id}", false, [&service](Exchange& exchange) {
    auto trace = service.traces.chrome_json(exchange.param);
    if (!trace) return error_response(http_error(404, "there is no such trace, or no longer"));
    return HttpResponse{.body = *std::move(trace)};
  });
}

}  // namespace glimpse
