#pragma once

// multipart/form-data (RFC 7578) as it arrives, in pieces of any size.

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace glimpse {

class Multipart {
 public:
  struct Part {
    std::string name;
    std::string filename;      // empty: a plain field
    std::string content_type;  // lower case, without parameters; may be empty
  };
  struct Events {
    std::function<Status(const Part&)> begin;
    std::function<Status(std::string_view)> data;  // pieces of the current part
    std::function<Status()> end;
  };

  // The boundary of a content-type header, or nothing when it is none of multipart/form-data.
  static std::optional<std::string> boundary(std::string_view content_type);

  Multipart(std::string boundary, Events events);

  // Errors: kInvalidData for what is not multipart; those of the events.
  Status push(std::string_view bytes);
  // The body has ended. Errors: kInvalidData when the last boundary has not come.
  Status finish() const;

 private:
  enum class State { kPreamble, kAfterBoundary, kHeaders, kData, kDone };

  Result<bool> step();
  Status read_headers(std::string_view text);

  const std::string delimiter_;  // "\r\n--boundary"
  Events events_;
  State state_ = State::kPreamble;
  std::string held_;  // received and not yet understood
  size_t num_parts_ = 0;
};

}  // namespace glimpse
