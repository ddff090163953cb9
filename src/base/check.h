#pragma once

// CHECK(condition, operands...): for what only a bug of ours can cause. Prints the condition and each named operand,
// then aborts. DCHECK is the same in debug and sanitizer builds and nothing otherwise. User input never reaches one.

#include <sstream>
#include <string_view>

namespace glimpse {

[[noreturn]] void check_failed(const char* file, int line, const char* condition, std::string_view names,
                               std::string_view values);

template <typename... Ts>
std::string format_operands(const Ts&... values) {
  std::ostringstream out;
  ((out << values << "; "), ...);
  return out.str();
}

}  // namespace glimpse

#define CHECK(condition, ...)                                                                                         \
  do {                                                                                                                \
    if (!(condition)) [[unlikely]]                                                                                    \
      ::glimpse::check_failed(__FILE__, __LINE__, #condition, #__VA_ARGS__, ::glimpse::format_operands(__VA_ARGS__)); \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition, ...) \
  do {                         \
  } while (false)
#else
#define DCHECK(condition, ...) CHECK(condition __VA_OPT__(, ) __VA_ARGS__)
#endif
