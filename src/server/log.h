#pragma once

// One line an event on standard error, as text or as JSON objects (spdlog). Levels and format are set once by the
// program; there is no other global.

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "base/json.h"

namespace glimpse {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// `json_lines`: {"time", "level", "message", ...}. Call before any thread logs.
void setup_log(bool json_lines, LogLevel level);

void log_line(LogLevel level, std::string_view message);
// With fields: as members of the object, or "key=value" behind the text.
void log_event(LogLevel level, std::string_view message, const json::object& fields);

template <typename... Args>
void log_info(fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::kInfo, fmt::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
void log_warning(fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::kWarning, fmt::format(text, std::forward<Args>(args)...));
}
template <typename... Args>
void log_error(fmt::format_string<Args...> text, Args&&... args) {
  log_line(LogLevel::kError, fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace glimpse
