#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace glimpse {

void check_failed(const char* file, int line, const char* condition, std::string_view names, std::string_view values) {
  std::fprintf(stderr, "%s:%d: CHECK(%s) failed", file, line, condition);
  if (!names.empty()) {
    std::fprintf(stderr, ": %.*s = %.*s", static_cast<int>(names.size()), names.data(), static_cast<int>(values.size()),
                 values.data());
  }
  std::fprintf(stderr, "\n");
  std::abort();
}

}  // namespace glimpse
