#include "server/error_response.h"

#include <algorithm>
#include <cmath>

namespace glimpse {

HttpResponse error_response(const ApiError& error) {
  HttpResponse response{.status = error.status, .body = error_body(error)};
  if (error.retry_after_s) {
    // Whole seconds, rounded up: a client that comes back then is let in.
    response.headers.emplace_back("retry-after",
                                  std::to_string(static_cast<int64_t>(std::ceil(std::max(1.0, *error.retry_after_s)))));
  }
  if (error.status == 401) response.headers.emplace_back("www-authenticate", "Bearer");
  return response;
}

HttpResponse error_response(const HttpFault& fault) {
  if (fault.status == 503) return retry_response(503, fault.message, 1);
  return error_response(http_error(fault.status, fault.message));
}

HttpResponse retry_response(int status, std::string message, double seconds) {
  return error_response(status == 429 ? overloaded(std::move(message), seconds)
                                      : unavailable(std::move(message), seconds));
}

HttpResponse unauthorized_response() {
  return error_response(unauthorized());
}

}  // namespace glimpse
