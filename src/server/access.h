#pragma once

// Who may ask, and how often.

#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "server/http_message.h"
#include "server/sha256.h"

namespace glimpse {

class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);

  bool required() const { return !digests_.empty(); }
  // The name under which the caller's files, drafts, cache and rate are kept: derived from its key, "" when no keys are
  // configured. None: the key is missing or wrong. Takes the same time for every wrong key.
  std::optional<std::string> owner(const HttpRequest& request) const;

 private:
  std::vector<Sha256Digest> digests_;
};

// The key in "Authorization: Bearer K", "x-api-key: K", or, since browsers cannot set headers of a WebSocket, in the
// subprotocol "glimpse-key.K" or, for keys with characters that no subprotocol may have, "glimpse-key64.B" with B the
// key in unpadded base64url. Empty if there is none.
std::string presented_key(const HttpRequest& request);

// A token bucket for each client. Bounded: the buckets of those who have not asked for longest are forgotten first,
// which can only be in their favour.
class RateLimiter {
 public:
  // `burst` 0: a tenth of a minute's requests, at least 1.
  RateLimiter(double per_minute, double burst, size_t max_clients = 65536);

  // Takes one request. Seconds until there will be room when there is none now.
  std::optional<double> take(const std::string& client, int64_t now_ns);

 private:
  struct Bucket {
    double tokens = 0;
    int64_t at_ns = 0;
    std::list<std::string>::iterator age;
  };
  const double per_ns_;
  const double burst_;
  const size_t max_clients_;
  std::unordered_map<std::string, Bucket> buckets_;
  std::list<std::string> ages_;  // least recently used first
};

}  // namespace glimpse
