#pragma once

// What an operator can set. The command line fills it (cli/serve_options); tests fill it themselves.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/connection.h"

namespace glimpse {

struct CorsOptions {
  std::vector<std::string> origins;  // "*" or exact; empty: no CORS headers
  std::string methods = "GET, POST, DELETE, OPTIONS";
  std::string headers = "*";
  bool allow_credentials = false;
};

// Which places a request may make the server read pictures from.
struct MediaPolicy {
  std::vector<std::string> allowed_domains;  // host names of http(s) URLs; empty: none
  std::string allowed_path;                  // folder that file:// URLs must lie below; empty: none
  bool allow_redirects = true;
  std::vector<std::string> private_addresses;  // of those that are not the public internet's, the ones to fetch from
  int64_t fetch_timeout_ms = 5000;
  size_t max_bytes = size_t{64} << 20;
};

struct FileLimits {
  size_t max_bytes = size_t{512} << 20;  // of all files
  size_t max_count = 1024;
  size_t max_bytes_per_owner = size_t{256} << 20;
  int64_t lifetime_s = 3600;  // since the last use
  int64_t pin_s = 120;        // how long an unused file's embeddings are kept from eviction
};

struct ServerOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 8000;     // 0: any free one
  std::string unix_socket;  // instead of host and port
  std::string root_path;    // prefix that a proxy leaves on, e.g. "/glimpse"
  std::vector<std::string> api_keys;
  std::string tls_certificate;  // PEM files; both or none
  std::string tls_key;
  std::string tls_client_ca;  // demand client certificates signed by these
  CorsOptions cors;
  ConnectionLimits connection;
  size_t max_connections = 4096;
  size_t max_body_bytes_in_flight = size_t{1} << 30;  // of all requests being received
  double rate_limit_per_minute = 0;                   // of each API key, or address without keys; 0: none
  double rate_limit_burst = 0;                        // 0: a tenth of a minute's, at least 1
  int32_t max_waiting = 1024;                         // requests in the engine's queue before 429
  int64_t request_timeout_ms = 0;                     // deadline of a request in the engine; 0: none
  int64_t ping_interval_ms = 15'000;                  // comment lines while a stream has nothing to say
  int64_t drain_timeout_ms = 30'000;
  int preparation_threads = 1;  // decode and resize pictures
  MediaPolicy media;
  FileLimits files;
  size_t max_drafts_per_owner = 4;
  bool prefill_follow_ups = true;  // after an answer, the text a follow-up will share
  size_t answer_cache_bytes = 0;   // answers of greedy and seeded requests that are kept; 0: none
  size_t trace_count = 256;        // requests whose traces are kept
  bool log_requests = true;
  std::string version = "0";
};

}  // namespace glimpse
