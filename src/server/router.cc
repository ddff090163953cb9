#include "server/router.h"

#include <charconv>

namespace glimpse {

namespace {

// Whether `path` fits `pattern`; the segment that stands for "{id}" goes to `param`.
bool fits(std::string_view pattern, std::string_view path, std::string_view& param) {
  const size_t brace = pattern.find('{');
  if (brace == std::string_view::npos) return pattern == path;
  const std::string_view prefix = pattern.substr(0, brace);
  const std::string_view suffix = pattern.substr(pattern.find('}') + 1);
  if (path.size() <= prefix.size() + suffix.size() || !path.starts_with(prefix) || !path.ends_with(suffix)) {
    return false;
  }
  param = path.substr(prefix.size(), path.size() - prefix.size() - suffix.size());
  return param.find('/') == std::string_view::npos;
}

}  // namespace

Router::Match Router::find(std::string_view method, std::string_view path) const {
  Match match;
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  for (const Route& route : routes_) {
    std::string_view param;
    if (!fits(route.pattern, path, param)) continue;
    match.known = true;
    if (route.method == method || (route.method == "GET" && method == "HEAD")) {
      match.route = &route;
      match.param = percent_decoded(param);
      return match;
    }
    match.allowed += (match.allowed.empty() ? "" : ", ") + route.method;
  }
  return match;
}

std::string percent_decoded(std::string_view text) {
  std::string result;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr == text.data() + i + 3) {
      result += static_cast<char>(value);
      i += 2;
    } else {
      result += text[i];
    }
  }
  return result;
}

}  // namespace glimpse
