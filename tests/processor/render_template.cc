// Reads JSON lines {"template", "variables", "now"?: [year, month, day, hour, minute, second]} from standard input and
// writes {"text", "untrusted": [[begin, end], …]} or {"error"} for each: the C++ side of tests/python/test_template.py.

#include <ctime>
#include <iostream>
#include <string>

#include "base/json.h"
#include "jinja/template.h"

namespace {

using glimpse::json::value;

std::optional<std::tm> clock_of(const glimpse::json::object& request) {
  const value* now = request.if_contains("now");
  if (now == nullptr) return std::nullopt;
  std::tm time{};
  const auto part = [&](size_t i) { return static_cast<int>(now->as_array().at(i).as_int64()); };
  time.tm_year = part(0) - 1900;
  time.tm_mon = part(1) - 1;
  time.tm_mday = part(2);
  time.tm_hour = part(3);
  time.tm_min = part(4);
  time.tm_sec = part(5);
  time.tm_isdst = -1;
  timegm(&time);  // fills in the day of the week
  return time;
}

glimpse::json::object answer(const glimpse::json::object& request) {
  auto made = glimpse::jinja::Template::compile(std::string_view(request.at("template").as_string()));
  if (!made) return {{"error", made.error().message}};
  std::vector<glimpse::jinja::Variable> variables;
  for (const auto& [name, each] : request.at("variables").as_object()) variables.push_back({name, &each});
  auto rendered = made->render(variables, {.now = clock_of(request), .word_field = "", .trusted_words = {}});
  if (!rendered) return {{"error", rendered.error().message}};
  glimpse::json::array untrusted;
  for (const auto& range : rendered->untrusted) untrusted.push_back(glimpse::json::array{range.begin, range.end});
  return {{"text", rendered->text}, {"untrusted", untrusted}};
}

}  // namespace

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const auto request = glimpse::parse_json(line);
    if (!request) {
      std::cerr << request.error().message << '\n';
      return 2;
    }
    std::cout << glimpse::json::serialize(answer(request->as_object())) << '\n';
  }
}
