#include "server/media_fetch.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <mutex>

#include "base/mmap.h"
#include "server/http_message.h"

namespace glimpse {

namespace {

constexpr int kFetchThreads = 4;
constexpr int kMaxRedirects = 3;
constexpr size_t kMaxUrlBytes = 8192;

struct FreeCurl {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
using Curl = std::unique_ptr<CURL, FreeCurl>;

struct Download {
  const MediaPolicy* policy = nullptr;
  std::string bytes;
  bool too_large = false;
  bool forbidden_address = false;
  CancelFlag cancelled;
};

size_t on_bytes(char* data, size_t size, size_t count, void* user) {
  auto& download = *static_cast<Download*>(user);
  if (download.bytes.size() + size * count > download.policy->max_bytes) {
    download.too_large = true;
    return 0;
  }
  download.bytes.append(data, size * count);
  return size * count;
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& cancelled = static_cast<Download*>(user)->cancelled;
  return cancelled != nullptr && cancelled->load(std::memory_order_relaxed) ? 1 : 0;
}

// Makes the socket, or refuses to: the address here is the one that will be connected to.
curl_socket_t open_socket(void* user, curlsocktype, curl_sockaddr* address) {
  auto& download = *static_cast<Download*>(user);
  bool allowed = false;
  char text[INET6_ADDRSTRLEN] = "";
  if (address->family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address->addr, sizeof v4);
    allowed = is_public_ipv4(ntohl(v4.sin_addr.s_addr));
    ::inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
  } else if (address->family == AF_INET6) {
    sockaddr_in6 v6;
    // curl keeps room for any address behind `addr`.
    std::memcpy(&v6, static_cast<const void*>(&address->addr), std::min(sizeof v6, size_t{address->addrlen}));
    uint8_t bytes[16];
    std::memcpy(bytes, v6.sin6_addr.s6_addr, sizeof bytes);
    allowed = is_public_ipv6(bytes);
    ::inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
  }
  const auto& listed = download.policy->private_addresses;
  allowed = allowed || std::find(listed.begin(), listed.end(), text) != listed.end();
  if (!allowed) {
    download.forbidden_address = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

Status check_url(std::string_view url, const MediaPolicy& policy) {
  ASSIGN_OR_RETURN(const std::string host, checked_host(url));
  if (std::find(policy.allowed_domains.begin(), policy.allowed_domains.end(), host) == policy.allowed_domains.end()) {
    return Error{ErrorCode::kInvalidArgument, "pictures are not fetched from this host"};
  }
  return {};
}

// One request without following redirects; `next` is where it was sent on to, if it was.
Status download_once(CURL* curl, const std::string& url, Download& download, std::string& next) {
  download.bytes.clear();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  const CURLcode code = curl_easy_perform(curl);
  if (download.forbidden_address) {
    return Error{ErrorCode::kInvalidArgument, "the host's address is private; pictures are not fetched from there"};
  }
  if (download.too_large) {
    return Error{ErrorCode::kTooLarge, fmt::format("the picture has more than {} bytes", download.policy->max_bytes)};
  }
  if (code == CURLE_OPERATION_TIMEDOUT) return Error{ErrorCode::kInvalidData, "fetching the picture took too long"};
  if (code != CURLE_OK) return Error{ErrorCode::kInvalidData, "the picture could not be fetched"};
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  const char* location = nullptr;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &location);
  next = location == nullptr ? "" : location;
  if (!next.empty() || status == 200) return {};
  return Error{ErrorCode::kInvalidData, fmt::format("fetching the picture gave HTTP status {}", status)};
}

Result<PicturePtr> download(std::string url, const MediaPolicy& policy, CancelFlag cancelled) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const Curl curl(curl_easy_init());
  if (curl == nullptr) return Error{ErrorCode::kResource, "curl cannot start"};
  Download state{.policy = &policy, .cancelled = std::move(cancelled)};
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");  // a proxy would connect where we cannot look
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(policy.fetch_timeout_ms));
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &state);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETFUNCTION, open_socket);
  curl_easy_setopt(curl.get(), CURLOPT_OPENSOCKETDATA, &state);
  curl_easy_setopt(curl.get(), CURLOPT_USERAGENT, "glimpse");
  for (int hop = 0; hop <= kMaxRedirects; ++hop) {
    RETURN_IF_ERROR(check_url(url, policy));
    std::string next;
    RETURN_IF_ERROR(download_once(curl.get(), url, state, next));
    if (next.empty()) {
      auto picture = std::make_shared<Picture>();
      picture->bytes = std::move(state.bytes);
      picture->sha256 = Sha256::of(picture->bytes);
      return PicturePtr(picture);
    }
    if (!policy.allow_redirects) return Error{ErrorCode::kInvalidData, "the URL redirects; redirects are not followed"};
    url = std::move(next);
  }
  return Error{ErrorCode::kInvalidData, "the URL redirects too often"};
}

ApiResult<PicturePtr> as_api(Result<PicturePtr> result, const std::string& param) {
  if (result) return *std::move(result);
  return invalid_image(param, result.error().message);
}

bool is_numeric_label(std::string_view label) {
  if (label.empty()) return false;
  if (label.starts_with("0x")) return true;
  return std::all_of(label.begin(), label.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

MediaFetch::MediaFetch(const MediaPolicy& policy) : policy_(policy), pool_(kFetchThreads) {}

Task<ApiResult<PicturePtr>> MediaFetch::fetch(std::string url, std::string param, CancelFlag cancelled) {
  if (policy_.allowed_domains.empty()) {
    co_return invalid_image(param,
                            "this server does not fetch pictures from URLs; send the picture as a data: URL or upload "
                            "it to /v1/files");
  }
  auto work = [&] { return as_api(download(std::move(url), policy_, std::move(cancelled)), param); };
  auto result = co_await pool_.run(work);
  co_return result;
}

Task<ApiResult<PicturePtr>> MediaFetch::read(std::string path, std::string param) {
  if (policy_.allowed_path.empty()) {
    co_return invalid_image(param, "this server does not read file:// URLs (--allowed-local-media-path)");
  }
  auto work = [&]() -> ApiResult<PicturePtr> {
    const auto real = path_below(policy_.allowed_path, path);
    if (!real) return invalid_image(param, real.error().message);
    auto bytes = read_file(*real, policy_.max_bytes);
    if (!bytes) return invalid_image(param, "the file cannot be read, or is too large");
    auto picture = std::make_shared<Picture>();
    picture->bytes = std::move(*bytes);
    picture->sha256 = Sha256::of(picture->bytes);
    return PicturePtr(picture);
  };
  auto result = co_await pool_.run(work);
  co_return result;
}

Result<std::string> checked_host(std::string_view url) {
  const auto refuse = [](const char* why) { return Error{ErrorCode::kInvalidArgument, why}; };
  if (url.size() > kMaxUrlBytes) return refuse("the URL is too long");
  for (const char c : url) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\\' || c == 0x7f) return refuse("the URL is not a valid one");
  }
  const size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return refuse("the URL is not a valid one");
  const std::string name = to_lower(url.substr(0, scheme));
  if (name != "http" && name != "https") return refuse("the URL's scheme is not http or https");
  std::string_view authority = url.substr(scheme + 3);
  authority = authority.substr(0, authority.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos) return refuse("the URL has a user name");
  if (authority.find('%') != std::string_view::npos) return refuse("the URL's host has a percent sign");
  std::string_view host = authority;
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    if (end == std::string_view::npos) return refuse("the URL is not a valid one");
    host = host.substr(0, end + 1);
  } else {
    host = host.substr(0, host.find(':'));
  }
  if (host.empty()) return refuse("the URL has no host");
  std::string result = to_lower(host);
  if (result.back() == '.') result.pop_back();
  // A host whose last label is a number is an address; only the ordinary spelling is one for everybody.
  const std::string_view last = std::string_view(result).substr(result.rfind('.') + 1);
  in_addr v4;
  if (is_numeric_label(last) && ::inet_pton(AF_INET, result.c_str(), &v4) != 1) {
    return refuse("the URL's host is not a valid one");
  }
  return result;
}

bool is_public_ipv4(uint32_t a) {
  const auto in = [a](uint32_t base, int bits) { return (a ^ base) >> (32 - bits) == 0; };
  constexpr auto ip = [](uint32_t w, uint32_t x, uint32_t y, uint32_t z) { return w << 24 | x << 16 | y << 8 | z; };
  // IANA's special-purpose registry: this network, private, shared, loopback, link-local, protocol assignments,
  // documentation, 6to4 relays, benchmarking, multicast, reserved.
  return !(in(ip(0, 0, 0, 0), 8) || in(ip(10, 0, 0, 0), 8) || in(ip(100, 64, 0, 0), 10) || in(ip(127, 0, 0, 0), 8) ||
           in(ip(169, 254, 0, 0), 16) || in(ip(172, 16, 0, 0), 12) || in(ip(192, 0, 0, 0), 24) ||
           in(ip(192, 0, 2, 0), 24) || in(ip(192, 88, 99, 0), 24) || in(ip(192, 168, 0, 0), 16) ||
           in(ip(198, 18, 0, 0), 15) || in(ip(198, 51, 100, 0), 24) || in(ip(203, 0, 113, 0), 24) ||
           in(ip(224, 0, 0, 0), 4) || in(ip(240, 0, 0, 0), 4));
}

bool is_public_ipv6(const uint8_t (&bytes)[16]) {
  const auto v4_at = [&bytes](int i) {
    return uint32_t{bytes[i]} << 24 | uint32_t{bytes[i + 1]} << 16 | uint32_t{bytes[i + 2]} << 8 | bytes[i + 3];
  };
  const bool zeros = std::all_of(bytes, bytes + 10, [](uint8_t b) { return b == 0; });
  if (zeros && bytes[10] == 0xff && bytes[11] == 0xff) return is_public_ipv4(v4_at(12));           // ::ffff:a.b.c.d
  if (bytes[0] == 0x00 && bytes[1] == 0x64 && bytes[2] == 0xff && bytes[3] == 0x9b) return false;  // NAT64
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return is_public_ipv4(v4_at(2));                       // 6to4
  if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] <= 0x01) return false;  // protocol assignments, Teredo
  if (bytes[0] == 0x20 && bytes[1] == 0x01 && bytes[2] == 0x0d && bytes[3] == 0xb8) return false;  // documentation
  return (bytes[0] & 0xe0) == 0x20;  // 2000::/3 is all that is routed; the rest is local, unique-local, multicast
}

Result<std::string> path_below(const std::string& folder, const std::string& path) {
  namespace fs = std::filesystem;
  const Error error{ErrorCode::kNotFound, "file:// URLs may only name files below the allowed folder"};
  if (path.find('\0') != std::string::npos) return error;
  std::error_code failed;
  const fs::path root = fs::canonical(folder, failed);
  if (failed) return error;
  const fs::path real = fs::canonical(path, failed);
  if (failed || !fs::is_regular_file(real, failed)) return error;
  const auto [root_end, unused] = std::mismatch(root.begin(), root.end(), real.begin(), real.end());
  // A root of "/" ends in an empty element only when it was spelled so; canonical() does not.
  if (root_end != root.end()) return error;
  return real.string();
}

}  // namespace glimpse
