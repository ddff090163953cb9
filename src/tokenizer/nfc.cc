#include "tokenizer/nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tokenizer/unicode.h"

namespace glimpse {

namespace {

// utf8proc's options are an enum of flags, so their sums are none of its values.
constexpr auto kCompose = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);      // NOLINT
constexpr auto kDecompose = static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE);  // NOLINT

int combining_class(int32_t code_point) {
  return utf8proc_get_property(code_point)->combining_class;
}

// Sorts marks by combining class, equal ones staying in order. (std::stable_sort would do; clang calls what libstdc++
// 12 makes of it deprecated.)
void sort_marks(std::vector<int32_t>::iterator begin, std::vector<int32_t>::iterator end) {
  std::vector<std::pair<uint64_t, int32_t>> marks;  // class and place, code point
  marks.reserve(static_cast<size_t>(end - begin));
  for (auto it = begin; it != end; ++it) {
    marks.emplace_back(static_cast<uint64_t>(combining_class(*it)) << 56 | marks.size(), *it);
  }
  std::sort(marks.begin(), marks.end());
  std::transform(marks.begin(), marks.end(), begin, [](const auto& mark) { return mark.second; });
}

// utf8proc's own decomposition of a string sorts runs of marks by insertion, quadratic in the run's length, so only its
// per-character decomposition and its composition (linear) are used.
void append_normalized(std::string& out, std::vector<int32_t>& points) {
  for (auto at = points.begin(); at != points.end();) {
    if (combining_class(*at) == 0) {
      ++at;
      continue;
    }
    const auto run_end = std::find_if(at, points.end(), [](int32_t c) { return combining_class(c) == 0; });
    sort_marks(at, run_end);
    at = run_end;
  }
  const utf8proc_ssize_t size =
      utf8proc_normalize_utf32(points.data(), static_cast<utf8proc_ssize_t>(points.size()), kCompose);
  CHECK(size >= 0, size);
  for (utf8proc_ssize_t i = 0; i < size; ++i) append_utf8(out, static_cast<uint32_t>(points[i]));
  points.clear();
}

}  // namespace

std::string to_nfc(std::string_view text) {
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; })) {
    return std::string(text);
  }
  std::string out;
  out.reserve(text.size());
  std::vector<int32_t> points;
  const char* const end = text.data() + text.size();
  for (const char* at = text.data(); at < end;) {
    const DecodedChar c = decode_utf8(at, end);
    if (c.code_point == kInvalidByte) {
      append_normalized(out, points);
      out.push_back(*at);
    } else {
      int32_t parts[8];
      int last_boundclass = 0;
      const utf8proc_ssize_t count =
          utf8proc_decompose_char(static_cast<int32_t>(c.code_point), parts, 8, kDecompose, &last_boundclass);
      CHECK(count >= 1 && count <= 8, count, c.code_point);
      points.insert(points.end(), parts, parts + count);
    }
    at += c.size;
  }
  append_normalized(out, points);
  return out;
}

}  // namespace glimpse
