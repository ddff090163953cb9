#include "server/static_response.h"

namespace glimpse {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Whether an accept-encoding header names `coding`, and not with q=0.
bool accepts(std::string_view header, std::string_view coding) {
  while (!header.empty()) {
    std::string_view item = header.substr(0, header.find(','));
    header.remove_prefix(std::min(item.size() + 1, header.size()));
    while (!item.empty() && item.front() == ' ') item.remove_prefix(1);
    const std::string_view name = item.substr(0, item.find_first_of("; "));
    if (!equals_ignoring_case(name, coding)) continue;
    const size_t q = item.find("q=");
    return q == std::string_view::npos || item.substr(q + 2).find_first_not_of("0.") == 0;
  }
  return false;
}

}  // namespace

HttpResponse static_response(const StaticFile& file, const HttpRequest& request) {
  HttpResponse response{.content_type = std::string(file.content_type)};
  response.headers = {{"etag", std::string(file.etag)},
                      {"cache-control", file.immutable ? "public, max-age=31536000, immutable" : "no-cache"},
                      {"vary", "accept-encoding"}};
  if (file.content_type.starts_with("text/html")) {
    response.headers.emplace_back("content-security-policy", std::string(page_security_policy()));
    response.headers.emplace_back("referrer-policy", "no-referrer");
    response.headers.emplace_back("x-frame-options", "DENY");
  }
  const std::string_view known = request.header("if-none-match");
  if (!known.empty() && (known == "*" || known.find(file.etag) != std::string_view::npos)) {
    response.status = 304;
    return response;
  }
  const std::string_view accepted = request.header("accept-encoding");
  if (!file.brotli.empty() && accepts(accepted, "br")) {
    response.headers.emplace_back("content-encoding", "br");
    response.body = text_of(file.brotli);
  } else if (!file.gzip.empty() && accepts(accepted, "gzip")) {
    response.headers.emplace_back("content-encoding", "gzip");
    response.body = text_of(file.gzip);
  } else {
    response.body = text_of(file.bytes);
  }
  return response;
}

}  // namespace glimpse
