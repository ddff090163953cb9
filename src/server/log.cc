#include "server/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>

namespace glimpse {

namespace {

std::atomic<bool> json_lines_{false};

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

}  // namespace

void setup_log(bool json_lines, LogLevel level) {
  json_lines_ = json_lines;
  auto logger = std::make_shared<spdlog::logger>("glimpse", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_level(level_of(level));
  // A JSON line's message is a string already, quotes included, with the fields behind it.
  logger->set_pattern(json_lines ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%v})"
                                 : "%Y-%m-%d %H:%M:%S.%e %^%L%$ %v");
  spdlog::set_default_logger(std::move(logger));
}

void log_line(LogLevel level, std::string_view message) {
  log_event(level, message, {});
}

void log_event(LogLevel level, std::string_view message, const json::object& fields) {
  auto* logger = spdlog::default_logger_raw();
  if (!logger->should_log(level_of(level))) return;
  std::string line;
  if (json_lines_) {
    line = json::serialize(json::string(message));
    for (const auto& [key, value] : fields) {
      line.append(",\"").append(std::string_view(key)).append("\":").append(to_text(value));
    }
  } else {
    line = message;
    for (const auto& [key, value] : fields) {
      line.append(" ").append(std::string_view(key)).append("=");
      line += value.is_string() ? std::string(value.get_string()) : to_text(value);
    }
  }
  logger->log(level_of(level), line);
}

}  // namespace glimpse
