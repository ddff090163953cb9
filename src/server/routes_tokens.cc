// /tokenize and /detokenize.

#include "api/completion_request.h"
#include "server/error_response.h"
#include "server/service.h"

namespace glimpse {

namespace {

Task<std::optional<HttpResponse>> answer(Service& service, bool encode, Exchange& exchange) {
  const std::string type = media_type(exchange.request.header("content-type"));
  if (!type.empty() && type != "application/json") {
    co_return error_response(HttpFault{415, "the content-type has to be application/json"});
  }
  Exchange::Body body = co_await exchange.read_all(service.options.connection.max_body_bytes);
  if (body.failure) co_return std::move(body.failure);
  auto work = [&]() -> ApiResult<std::string> {
    ASSIGN_OR_RETURN(json::value value, parse_body(body.bytes));
    if (!encode) return detokenize_response(value, service.model);
    ASSIGN_OR_RETURN(const TokenizeRequest request, parse_tokenize_request(std::move(value), service.model));
    return tokenize_response(request, service.model);
  };
  ApiResult<std::string> text = co_await service.text_pool.run(work);
  if (!text) co_return error_response(text.error());
  co_return HttpResponse{.body = *std::move(text)};
}

}  // namespace

void add_token_routes(Service& service) {
  for (const bool encode : {true, false}) {
    const auto handler = [&service, encode](Exchange& exchange) { return answer(service, encode, exchange); };
    for (const std::string prefix : {"", "/v1"}) {
      service.http.router.add({.method = "POST",
                               .pattern = prefix + (encode ? "/tokenize" : "/detokenize"),
                               .handler = handler,
                               .limited = true});
    }
  }
}

}  // namespace glimpse
