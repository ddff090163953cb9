#include "server/multipart.h"

#include <algorithm>

#include "server/http_message.h"

namespace glimpse {

namespace {

constexpr size_t kMaxHeaderBytes = 8192;
constexpr size_t kMaxParts = 256;
constexpr size_t kMaxBoundary = 70;  // RFC 2046

Error bad(const char* why) {
  return {ErrorCode::kInvalidData, std::string("the multipart body is not valid: ") + why};
}

// The value of a parameter, quoted or not: name="x", filename=y.
std::string parameter(std::string_view header, std::string_view name) {
  for (size_t at = header.find(';'); at != std::string_view::npos; at = header.find(';', at + 1)) {
    std::string_view rest = header.substr(at + 1);
    while (!rest.empty() && (rest.front() == ' ' || rest.front() == '\t')) rest.remove_prefix(1);
    if (rest.size() <= name.size() || rest[name.size()] != '=' ||
        !equals_ignoring_case(rest.substr(0, name.size()), name)) {
      continue;
    }
    rest.remove_prefix(name.size() + 1);
    if (!rest.starts_with('"')) {
      const std::string_view value = rest.substr(0, rest.find(';'));
      return std::string(value.substr(0, value.find_last_not_of(" \t") + 1));
    }
    std::string value;
    for (size_t i = 1; i < rest.size() && rest[i] != '"'; ++i) {
      if (rest[i] == '\\' && i + 1 < rest.size()) ++i;
      value += rest[i];
    }
    return value;
  }
  return {};
}

}  // namespace

std::optional<std::string> Multipart::boundary(std::string_view content_type) {
  if (media_type(content_type) != "multipart/form-data") return std::nullopt;
  std::string value = parameter(content_type, "boundary");
  if (value.empty() || value.size() > kMaxBoundary) return std::nullopt;
  return value;
}

Multipart::Multipart(std::string boundary, Events events)
    : delimiter_("\r\n--" + std::move(boundary)), events_(std::move(events)), held_("\r\n") {}

Status Multipart::push(std::string_view bytes) {
  if (state_ == State::kDone) return {};  // an epilogue means nothing
  held_.append(bytes);
  for (;;) {
    ASSIGN_OR_RETURN(const bool progress, step());
    if (!progress) return {};
  }
}

// Understands one thing of held_; false: needs more.
Result<bool> Multipart::step() {
  switch (state_) {
    case State::kPreamble:
    case State::kData: {
      const size_t at = held_.find(delimiter_);
      // All that cannot be the beginning of a boundary is data.
      const size_t sure = at != std::string::npos ? at : held_.size() - std::min(held_.size(), delimiter_.size() - 1);
      if (sure > 0 && state_ == State::kData) RETURN_IF_ERROR(events_.data(std::string_view(held_).substr(0, sure)));
      held_.erase(0, sure);
      if (at == std::string::npos) return false;
      held_.erase(0, delimiter_.size());
      if (state_ == State::kData) RETURN_IF_ERROR(events_.end());
      state_ = State::kAfterBoundary;
      return true;
    }
    case State::kAfterBoundary: {
      if (held_.size() < 2) return false;
      if (held_.starts_with("--")) {
        state_ = State::kDone;
        held_.clear();
        return false;
      }
      const size_t line_end = held_.find("\r\n");
      if (line_end == std::string::npos) {
        if (held_.size() > kMaxBoundary) return bad("a boundary's line does not end");
        return false;
      }
      if (held_.find_first_not_of(" \t") != line_end) return bad("something stands behind a boundary");
      held_.erase(0, line_end);  // its line end may begin an empty header block
      state_ = State::kHeaders;
      return true;
    }
    case State::kHeaders: {
      const size_t end = held_.find("\r\n\r\n");
      if (end == std::string::npos) {
        if (held_.size() > kMaxHeaderBytes) return bad("a part's headers are too large");
        return false;
      }
      if (end > kMaxHeaderBytes) return bad("a part's headers are too large");
      const std::string headers = held_.substr(0, end);
      held_.erase(0, end + 4);
      RETURN_IF_ERROR(read_headers(headers));
      state_ = State::kData;
      return true;
    }
    case State::kDone:
      return false;
  }
  return false;
}

Status Multipart::read_headers(std::string_view text) {
  if (++num_parts_ > kMaxParts) return bad("it has too many parts");
  Part part;
  while (!text.empty()) {
    text.remove_prefix(std::min<size_t>(2, text.size()));  // "\r\n"
    const std::string_view line = text.substr(0, text.find("\r\n"));
    text.remove_prefix(line.size());
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return bad("a part's header has no colon");
    const std::string name = to_lower(line.substr(0, colon));
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
    if (name == "content-disposition") {
      part.name = parameter(value, "name");
      part.filename = parameter(value, "filename");
    } else if (name == "content-type") {
      part.content_type = media_type(value);
    }
  }
  if (part.name.empty()) return bad("a part has no name");
  return events_.begin(part);
}

Status Multipart::finish() const {
  return state_ == State::kDone ? Status() : bad("it ends before its last boundary");
}

}  // namespace glimpse
