// The chat page and its files. They hold no data, so they need no key: the page asks for it.

#include "server/service.h"
#include "server/static_response.h"

namespace glimpse {

namespace {

constexpr std::string_view kNoPage =
    "Glimpse is running, but it was built without its chat page (that needs npm at build time).\n"
    "The OpenAI API is at /v1, for example POST /v1/chat/completions; GET /v1/models lists what is served.\n";

}  // namespace

void add_page_routes(Service& service) {
  for (const StaticFile& file : static_files()) {
    auto handler = [&file](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
      co_return static_response(file, exchange.request);
    };
    service.http.router.add(
        {.method = "GET", .pattern = std::string(file.path), .handler = std::move(handler), .open = true});
  }
  if (find_static_file("/") != nullptr) return;
  auto handler = [](Exchange&) -> Task<std::optional<HttpResponse>> {
    co_return HttpResponse{.content_type = "text/plain; charset=utf-8", .body = std::string(kNoPage)};
  };
  service.http.router.add({.method = "GET", .pattern = "/", .handler = std::move(handler), .open = true});
}

}  // namespace glimpse
