#pragma once

// Which handler answers which path.

#include <string>
#include <string_view>
#include <vector>

#include "server/exchange.h"

namespace glimpse {

struct Route {
  std::string method;   // "GET" also answers HEAD
  std::string pattern;  // "/v1/models/{id}": the braces stand for one path segment
  Handler handler;
  bool open = false;     // no API key needed: health checks and the page
  bool limited = false;  // counts against the rate limit; refused while the server drains
  bool websocket = false;
};

class Router {
 public:
  void add(Route route) { routes_.push_back(std::move(route)); }

  struct Match {
    const Route* route = nullptr;
    std::string param;    // of "{id}", percent signs decoded
    bool known = false;   // there is such a path, if perhaps not for this method
    std::string allowed;  // methods of the path, for 405
  };
  Match find(std::string_view method, std::string_view path) const;

 private:
  std::vector<Route> routes_;
};

// "%2F" -> "/"; what is no valid escape stays as it is.
std::string percent_decoded(std::string_view text);

}  // namespace glimpse
