#include "server/access.h"

#include <openssl/crypto.h>

#include <algorithm>

#include "api/base64.h"

namespace glimpse {

ApiKeys::ApiKeys(const std::vector<std::string>& keys) {
  for (const std::string& key : keys) digests_.push_back(Sha256::of(key));
}

std::optional<std::string> ApiKeys::owner(const HttpRequest& request) const {
  if (digests_.empty()) return std::string();
  // Digests have one length, and every one of them is compared: the time tells nothing about how close a guess is.
  const Sha256Digest given = Sha256::of(presented_key(request));
  bool known = false;
  for (const Sha256Digest& digest : digests_) {
    known |= CRYPTO_memcmp(digest.data(), given.data(), given.size()) == 0;
  }
  if (!known) return std::nullopt;
  return to_hex(given).substr(0, 16);
}

namespace {

// What follows `prefix` in a list of subprotocols.
std::optional<std::string_view> named_protocol(std::string_view protocols, std::string_view prefix) {
  const size_t begin = protocols.find(prefix);
  if (begin == std::string_view::npos) return std::nullopt;
  const std::string_view rest = protocols.substr(begin + prefix.size());
  return rest.substr(0, rest.find_first_of(", "));
}

}  // namespace

std::string presented_key(const HttpRequest& request) {
  const std::string_view authorization = request.header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  if (authorization.size() > kBearer.size() && equals_ignoring_case(authorization.substr(0, kBearer.size()), kBearer)) {
    std::string_view key = authorization.substr(kBearer.size());
    while (!key.empty() && key.front() == ' ') key.remove_prefix(1);
    return std::string(key);
  }
  if (const std::string_view key = request.header("x-api-key"); !key.empty()) return std::string(key);
  const std::string_view protocols = request.header("sec-websocket-protocol");
  if (const auto key = named_protocol(protocols, "glimpse-key.")) return std::string(*key);
  const auto encoded = named_protocol(protocols, "glimpse-key64.");
  if (!encoded) return {};
  std::string text(*encoded);  // as plain base64
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  const auto bytes = decode_base64(text, "sec-websocket-protocol");
  if (!bytes) return {};
  return *bytes;
}

RateLimiter::RateLimiter(double per_minute, double burst, size_t max_clients)
    : per_ns_(per_minute / 60e9),
      burst_(burst > 0 ? burst : std::max(1.0, per_minute / 10)),
      max_clients_(max_clients) {}

std::optional<double> RateLimiter::take(const std::string& client, int64_t now_ns) {
  if (per_ns_ <= 0) return std::nullopt;
  auto [found, added] = buckets_.try_emplace(client);
  Bucket& bucket = found->second;
  if (added) {
    bucket = {.tokens = burst_, .at_ns = now_ns, .age = ages_.insert(ages_.end(), client)};
    if (buckets_.size() > max_clients_) {
      buckets_.erase(ages_.front());
      ages_.pop_front();
    }
  } else {
    ages_.splice(ages_.end(), ages_, bucket.age);
    bucket.tokens = std::min(burst_, bucket.tokens + static_cast<double>(now_ns - bucket.at_ns) * per_ns_);
    bucket.at_ns = now_ns;
  }
  if (bucket.tokens < 1) return (1 - bucket.tokens) / per_ns_ / 1e9;
  bucket.tokens -= 1;
  return std::nullopt;
}

}  // namespace glimpse
