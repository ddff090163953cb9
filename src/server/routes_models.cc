// What is served.

#include <algorithm>

#include "server/error_response.h"
#include "server/service.h"

namespace glimpse {

namespace {

json::object model_object(const Service& service, const std::string& name) {
  const ImageOptions& image = service.model.source().image;
  const ServerOptions& limits = service.options;
  return {{"id", name},
          {"object", "model"},
          {"created", service.started_s},
          {"owned_by", "glimpse"},
          {"root", service.model.name()},
          {"parent", nullptr},
          {"max_model_len", service.model.max_model_len()},
          {"permission", json::array{}},
          // For clients that send pictures: what is larger is scaled down to this area, or refused.
          {"glimpse", json::object{{"max_image_pixels", image.max_pixels / image.temporal_patch_size},
                                   {"max_picture_bytes",
                                    std::min<uint64_t>(limits.connection.max_body_bytes, limits.files.max_bytes)}}}};
}

}  // namespace

void add_model_routes(Service& service) {
  auto list = [&service](Exchange&) -> Task<std::optional<HttpResponse>> {
    json::array data;
    for (const std::string& name : service.model.options().served_names) data.push_back(model_object(service, name));
    co_return HttpResponse{.body = to_text(json::object{{"object", "list"}, {"data", std::move(data)}})};
  };
  auto one = [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    if (exchange.param.empty() || !service.model.serves(exchange.param)) {
      co_return error_response(model_not_found(exchange.param));
    }
    co_return HttpResponse{.body = to_text(model_object(service, exchange.param))};
  };
  service.http.router.add({.method = "GET", .pattern = "/v1/models", .handler = std::move(list)});
  service.http.router.add({.method = "GET", .pattern = "/v1/models/{id}", .handler = std::move(one)});
}

}  // namespace glimpse
