#pragma once

// An HTTP request's head and a whole response, as the routes see them: no sockets, no parser types.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace glimpse {

using HeaderList = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // "/v1/models", as sent: percent signs are not decoded
  std::string query;   // behind the '?', may be empty
  HeaderList headers;  // names in lower case
  std::string client;  // the peer's address, for logs
  std::string id;      // x-request-id: the client's if it is sane, else ours
  bool keep_alive = true;
  bool http10 = false;
  bool has_body = false;
  std::optional<uint64_t> content_length;
  int64_t arrival_ns = 0;  // when the head's first byte came

  // Empty when there is no such header. `name` in lower case.
  std::string_view header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HeaderList headers;  // beside content-type, content-length, connection and x-request-id
  std::string body;
};

std::string_view reason_phrase(int status);

// The head's bytes. `length` is the body's; none: chunked (HTTP/1.1) or until the connection is closed.
std::string format_head(const HttpResponse& response, const HttpRequest& request, std::optional<uint64_t> length,
                        bool keep_alive);

// A decimal parameter or name of "a=1&b=2"; empty when absent. Not decoded.
std::string_view query_value(std::string_view query, std::string_view name);

// "text/plain; charset=x" -> "text/plain" in lower case.
std::string media_type(std::string_view content_type);

bool equals_ignoring_case(std::string_view a, std::string_view b);
std::string to_lower(std::string_view text);

}  // namespace glimpse
