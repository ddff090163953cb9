#pragma once

// Errors as OpenAI's clients expect them.

#include "api/error.h"
#include "server/connection.h"
#include "server/http_message.h"

namespace glimpse {

HttpResponse error_response(const ApiError& error);
// A fault of the HTTP layer: 400, 408, 411, 413, 415, 431.
HttpResponse error_response(const HttpFault& fault);
// With an honest retry-after, for 429 and 503.
HttpResponse retry_response(int status, std::string message, double seconds);
HttpResponse unauthorized_response();

}  // namespace glimpse
