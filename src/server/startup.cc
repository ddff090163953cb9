#include "server/startup.h"

#include <fmt/format.h>

#include "base/json.h"
#include "server/error_response.h"
#include "server/static_response.h"

namespace glimpse {

Startup::Startup(HttpServer& http, const ServerOptions& options) : http_(http), options_(options) {
  http_.before_ready = [this](Exchange& exchange) { return answer(exchange); };
}

void Startup::report(std::string_view what, double share) {
  const std::lock_guard lock(mutex_);
  what_ = what;
  share_ = share;
}

void Startup::done() {
  http_.before_ready = nullptr;
}

HttpResponse Startup::answer(Exchange& exchange) {
  const HttpRequest& request = exchange.request;
  if (request.method == "GET" || request.method == "HEAD") {
    for (const char* path : {"/healthz", "/livez", "/ping"}) {
      if (request.path == path) return {.body = to_text(json::object{{"status", "ok"}})};
    }
    if (request.path == "/version") return {.body = to_text(json::object{{"version", options_.version}})};
    if (const StaticFile* file = find_static_file(request.path)) return static_response(*file, request);
  }
  std::string what;
  double share = 0;
  {
    const std::lock_guard lock(mutex_);
    what = what_;
    share = share_;
  }
  const std::string progress = share < 0 ? what : fmt::format("{}, {:.0f} %", what, 100 * share);
  HttpResponse response = retry_response(503, "the server is starting: " + progress, 1);
  auto body = parse_json(response.body);
  if (!body || !body->is_object()) return response;
  json::object& object = body->get_object();
  object["status"] = "loading";
  object["progress"] = json::object{{"what", what}, {"share", share < 0 ? json::value(nullptr) : json::value(share)}};
  response.body = to_text(*body);
  return response;
}

}  // namespace glimpse
