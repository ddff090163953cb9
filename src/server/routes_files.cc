// /v1/files: pictures before the question.

#include <fmt/format.h>

#include "server/error_response.h"
#include "server/multipart.h"
#include "server/service.h"
#include "server/upload.h"

namespace glimpse {

namespace {

json::object file_object(const StoredFile& file) {
  json::object object = {
      {"id", file.id},
      {"object", "file"},
      {"bytes", file.picture->bytes.size()},
      {"created_at", file.created_s},
      {"filename", file.filename},
      {"purpose", file.purpose},
      {"status", file.failure.empty() ? (file.image && file.image->encoded() ? "processed" : "uploaded") : "error"},
      {"sha256", to_hex(file.picture->sha256)},
      {"width", file.width},
      {"height", file.height},
      {"image_tokens", file.num_tokens}};
  if (!file.failure.empty()) object["status_details"] = file.failure;
  return object;
}

HttpResponse no_such_file() {
  ApiError error = http_error(404, "there is no such file, or it has expired");
  error.code = "file_not_found";
  return error_response(error);
}

Task<std::optional<HttpResponse>> upload(Service& service, Exchange& exchange) {
  const uint64_t limit = std::min<uint64_t>(service.options.connection.max_body_bytes, service.options.files.max_bytes);
  if (!exchange.request.has_body) {
    co_return error_response(HttpFault{exchange.request.content_length ? 400 : 411, "the request has no body"});
  }
  const std::string_view content_type = exchange.request.header("content-type");
  const std::string type = media_type(content_type);
  Uploads uploads;
  if (const auto boundary = Multipart::boundary(content_type)) {
    uploads = co_await receive_multipart(exchange, *boundary, limit, service.clock);
  } else if (type.empty() || type.starts_with("image/") || type == "application/octet-stream") {
    uploads = co_await receive_raw(exchange, limit, service.clock);
    if (!uploads.failure) {
      uploads.files[0].filename = percent_decoded(query_value(exchange.request.query, "filename"));
    }
  } else {
    co_return error_response(
        HttpFault{415,
                  "send multipart/form-data with a part \"file\", or the picture's bytes as image/* or "
                  "application/octet-stream"});
  }
  if (uploads.failure) co_return std::move(uploads.failure);
  const auto sent =
      std::find_if(uploads.files.begin(), uploads.files.end(), [](const Upload& file) { return file.name == "file"; });
  if (sent == uploads.files.end()) {
    co_return error_response(invalid_request("file", "the body has no part \"file\" with a file name"));
  }
  const auto purpose = uploads.fields.find("purpose");
  StoredFile file{.owner = exchange.owner,
                  .filename = sent->filename.substr(0, 255),
                  .purpose = purpose == uploads.fields.end() ? "vision" : purpose->second.substr(0, 64),
                  .picture = std::move(sent->picture)};
  const auto stored = service.accept_picture(std::move(file), "file", {}, {});
  if (!stored) co_return error_response(stored.error());
  co_return HttpResponse{.body = to_text(file_object(**stored))};
}

}  // namespace

void add_file_routes(Service& service) {
  Router& router = service.http.router;
  const auto add = [&router](std::string method, std::string pattern, Handler handler, bool limited = false) {
    router.add({.method = std::move(method),
                .pattern = std::move(pattern),
                .handler = std::move(handler),
                .limited = limited});
  };
  add("POST", "/v1/files", [&service](Exchange& exchange) { return upload(service, exchange); }, true);
  add("GET", "/v1/files", [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    json::array data;
    for (const FilePtr& file : service.files.list(exchange.owner)) data.push_back(file_object(*file));
    co_return HttpResponse{
        .body = to_text(json::object{{"object", "list"}, {"data", std::move(data)}, {"has_more", false}})};
  });
  add("GET", "/v1/files/{id}", [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    const FilePtr file = service.files.find(exchange.owner, exchange.param);
    if (file == nullptr) co_return no_such_file();
    co_return HttpResponse{.body = to_text(file_object(*file))};
  });
  add("GET", "/v1/files/{id}/content", [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    const FilePtr file = service.files.find(exchange.owner, exchange.param);
    if (file == nullptr) co_return no_such_file();
    // Somebody's bytes: never to be rendered as a page of this origin.
    HttpResponse response{.content_type = "application/octet-stream", .body = file->picture->bytes};
    response.headers.emplace_back("content-disposition", "attachment");
    co_return response;
  });
  add("DELETE", "/v1/files/{id}", [&service](Exchange& exchange) -> Task<std::optional<HttpResponse>> {
    if (!service.files.remove(exchange.owner, exchange.param)) co_return no_such_file();
    co_return HttpResponse{.body =
                               to_text(json::object{{"id", exchange.param}, {"object", "file"}, {"deleted", true}})};
  });
}

}  // namespace glimpse
