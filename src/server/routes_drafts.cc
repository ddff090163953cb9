// /v1/chat/drafts: a chat request whose last message is still being typed.

#include "server/error_response.h"
#include "server/service.h"

namespace glimpse {

namespace {

Task<std::optional<HttpResponse>> draft(Service& service, Exchange& exchange) {
  const std::string type = media_type(exchange.request.header("content-type"));
  if (!type.empty() && type != "application/json") {
    co_return error_response(HttpFault{415, "the content-type has to be application/json"});
  }
  Exchange::Body body = co_await exchange.read_all(service.options.connection.max_body_bytes);
  if (body.failure) co_return std::move(body.failure);
  Generation::Input input{.body = std::move(body.bytes),
                          .owner = exchange.owner,
                          .request_id = exchange.request.id,
                          .arrival_ns = exchange.request.arrival_ns,
                          .received_ns = service.clock.now_ns()};
  const std::shared_ptr<Generation> job = service.generations.make(std::move(input));
  // A client that leaves has made up its mind; what was computed so far stays in the cache.
  exchange.connection().watch([job] { job->cancel(); });
  const std::string id = "draft-" + exchange.request.id;
  const auto outcome = co_await service.run_draft(id, job);
  exchange.connection().unwatch();
  if (!outcome) co_return error_response(outcome.error());
  co_return HttpResponse{.body = to_text(json::object{{"id", id},
                                                      {"object", "chat.draft"},
                                                      {"status", draft_status(*outcome)},
                                                      {"prompt_tokens", outcome->num_prompt_tokens},
                                                      {"cached_tokens", outcome->num_cached_tokens},
                                                      {"image_tokens", outcome->num_image_tokens}})};
}

}  // namespace

void add_draft_routes(Service& service) {
  service.http.router.add({.method = "POST",
                           .pattern = "/v1/chat/drafts",
                           .handler = [&service](Exchange& exchange) { return draft(service, exchange); },
                           .limited = true});
  service.http.router.add({.method = "DELETE",
                           .pattern = "/v1/chat/drafts/{id}",
                           .handler = [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
                             const auto running = service.drafts.find(exchange.owner);
                             if (running != service.drafts.end()) {
                               for (const auto& [id, job] : running->second) {
                                 if (id != exchange.param) continue;
                                 job->cancel();
                                 co_return HttpResponse{.body = to_text(json::object{
                                                            {"id", id}, {"object", "chat.draft"}, {"deleted", true}})};
                               }
                             }
                             co_return error_response(http_error(404, "there is no such draft running"));
                           }});
}

}  // namespace glimpse
