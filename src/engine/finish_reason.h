#pragma once

#include <cstdint>
#include <string_view>

namespace glimpse {

// The one named outcome in which every request ends.
enum class FinishReason : uint8_t {
  kStop,       // a stop token, or the caller found a stop string
  kLength,     // max_tokens, or the context is full
  kCancelled,  // Engine::cancel
  kDeadline,   // the request's deadline passed
  kFailed,     // the machine's fault; EngineEvent::error says which
};

constexpr std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kFailed:
      return "failed";
  }
  return "?";
}

}  // namespace glimpse
