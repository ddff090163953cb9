#pragma once

// Pictures from elsewhere, for operators who allow it: http(s) URLs of listed hosts, files below one folder.
//
// A URL is as hostile as a body: it may point into the operator's own network. Its host has to be listed, and the
// address that the name resolves to is checked when the connection is made, so that a name cannot change its mind in
// between; redirects pass the same gates.

#include <memory>
#include <string>
#include <string_view>

#include "api/error.h"
#include "server/options.h"
#include "server/picture.h"
#include "server/work_pool.h"

namespace glimpse {

class MediaFetch {
 public:
  explicit MediaFetch(const MediaPolicy& policy);

  // Errors: 400 invalid_image with `param`, saying which rule forbids it; nothing of what a forbidden place answered.
  Task<ApiResult<PicturePtr>> fetch(std::string url, std::string param, CancelFlag cancelled);
  // `path`: of a file:// URL.
  Task<ApiResult<PicturePtr>> read(std::string path, std::string param);

  void stop() { pool_.stop(); }

 private:
  const MediaPolicy& policy_;
  WorkPool pool_;  // downloads wait in it
};

// The host of an http(s) URL as curl will see it, lower case. Errors: anything that two parsers could read differently:
// user names, backslashes, control characters, hosts that are numbers in disguise (0x7f.1, 2130706433).
Result<std::string> checked_host(std::string_view url);

// Whether an address (sockaddr of AF_INET or AF_INET6) is one of the public internet's.
bool is_public_ipv4(uint32_t host_order);
bool is_public_ipv6(const uint8_t (&bytes)[16]);

// The real path of `path` if it lies below `folder`, both with all links followed. Errors: kNotFound, without saying
// whether the file exists.
Result<std::string> path_below(const std::string& folder, const std::string& path);

}  // namespace glimpse
