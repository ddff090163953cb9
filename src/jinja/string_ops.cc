#include "jinja/string_ops.h"

#include <utf8proc.h>

#include <algorithm>

namespace glimpse::jinja {

namespace {

constexpr auto kNone = std::string_view::npos;

Result<Value> list_of_slices(Runtime& runtime, const Text& text, const std::vector<ByteRange>& ranges) {
  std::vector<Value> items;
  items.reserve(ranges.size());
  for (const ByteRange& range : ranges) {
    ASSIGN_OR_RETURN(Value item, runtime.substring(text, range.begin, range.end));
    items.push_back(std::move(item));
  }
  return runtime.list(std::move(items));
}

// Where the non-overlapping occurrences begin, from the left or (then in descending order) from the right. A list may
// take 8 bytes per byte of text, so it is charged.
Result<std::vector<size_t>> occurrences(Runtime& runtime, std::string_view text, std::string_view sub, int64_t most,
                                        bool from_right) {
  std::vector<size_t> found;
  if (!from_right) {
    for (size_t at = 0; most < 0 || static_cast<int64_t>(found.size()) < most; at = found.back() + sub.size()) {
      const size_t hit = find_bytes(text, sub, at);
      if (hit == kNone) break;
      found.push_back(hit);
    }
  } else {
    const std::string backwards(text.rbegin(), text.rend());
    const std::string needle(sub.rbegin(), sub.rend());
    for (size_t at = 0; most < 0 || static_cast<int64_t>(found.size()) < most;) {
      const size_t hit = find_bytes(backwards, needle, at);
      if (hit == kNone) break;
      at = hit + needle.size();
      found.push_back(text.size() - at);
    }
  }
  RETURN_IF_ERROR(runtime.charge(found.size() * sizeof(size_t)));
  RETURN_IF_ERROR(runtime.scan(text.size()));
  return found;
}

bool is_line_break(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool is_upper(uint32_t c) {
  return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_lower(uint32_t c) {
  return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0;
}
bool is_title(uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_LT;
}
bool is_cased(uint32_t c) {
  return is_upper(c) || is_lower(c) || is_title(c);
}

void append_upper(std::string& out, uint32_t c, bool titled) {
  if (c == 0xDF) {
    out += titled ? "Ss" : "SS";
    return;
  }
  const auto code = static_cast<utf8proc_int32_t>(c);
  append_utf8(out, static_cast<uint32_t>(titled ? utf8proc_totitle(code) : utf8proc_toupper(code)));
}

void append_lower(std::string& out, uint32_t c) {
  if (c == 0x130) {
    out += "i\xCC\x87";
    return;
  }
  append_utf8(out, static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
}

}  // namespace

size_t rfind_bytes(std::string_view haystack, std::string_view needle) {
  if (needle.size() > haystack.size()) return kNone;
  // Backwards, so that the search stays linear: string_view::rfind is not.
  const std::string backwards(haystack.rbegin(), haystack.rend());
  const size_t hit = find_bytes(backwards, std::string(needle.rbegin(), needle.rend()), 0);
  return hit == kNone ? kNone : haystack.size() - hit - needle.size();
}

int64_t count_occurrences(const Text& text, const Text& sub, ByteRange range) {
  const std::string_view inside = text.view().substr(range.begin, range.end - range.begin);
  int64_t count = 0;
  if (sub.size() == 0) {
    for (size_t at = 0; at < inside.size(); at += code_point_at(inside, at).bytes) ++count;
    return count + 1;
  }
  for (size_t at = find_bytes(inside, sub.view(), 0); at != kNone;
       at = find_bytes(inside, sub.view(), at + sub.size())) {
    ++count;
  }
  return count;
}

Result<Value> split_at(Runtime& runtime, const Text& text, std::string_view separator, int64_t most, bool from_right) {
  ASSIGN_OR_RETURN(std::vector<size_t> cuts, occurrences(runtime, text.view(), separator, most, from_right));
  if (from_right) std::reverse(cuts.begin(), cuts.end());
  std::vector<ByteRange> ranges;
  size_t begin = 0;
  for (const size_t cut : cuts) {
    ranges.push_back({begin, cut});
    begin = cut + separator.size();
  }
  ranges.push_back({begin, text.size()});
  return list_of_slices(runtime, text, ranges);
}

Result<Value> split_spaces(Runtime& runtime, const Text& text, int64_t most, bool from_right) {
  std::vector<ByteRange> words;
  const std::string_view bytes = text.view();
  ByteRange left = strip_range(bytes, {}, true, true);
  while (left.begin < left.end) {
    if (most >= 0 && static_cast<int64_t>(words.size()) == most) {
      // The rest, with the white space inside it; at its outer end it stays as it was.
      words.push_back(from_right ? ByteRange{0, left.end} : ByteRange{left.begin, bytes.size()});
      break;
    }
    size_t cut = from_right ? left.end : left.begin;
    if (from_right) {
      while (cut > left.begin) {
        const size_t before = previous_code_point(bytes, cut);
        if (is_space(code_point_at(bytes, before).value)) break;
        cut = before;
      }
      words.push_back({cut, left.end});
      left.end = left.begin + strip_range(bytes.substr(left.begin, cut - left.begin), {}, false, true).end;
    } else {
      while (cut < left.end && !is_space(code_point_at(bytes, cut).value)) cut += code_point_at(bytes, cut).bytes;
      words.push_back({left.begin, cut});
      left.begin = cut + strip_range(bytes.substr(cut, left.end - cut), {}, true, false).begin;
    }
  }
  if (from_right) std::reverse(words.begin(), words.end());
  return list_of_slices(runtime, text, words);
}

Result<Value> split_lines(Runtime& runtime, const Text& text, bool keep_ends) {
  std::vector<ByteRange> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text.bytes, at);
    size_t next = at + c.bytes;
    if (is_line_break(c.value)) {
      if (c.value == '\r' && next < text.size() && text.bytes[next] == '\n') ++next;
      lines.push_back({begin, keep_ends ? next : at});
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back({begin, text.size()});
  return list_of_slices(runtime, text, lines);
}

Result<Value> replace(Runtime& runtime, const Text& text, const Text& from, const Text& to, int64_t count) {
  std::vector<size_t> hits;
  if (from.size() == 0) {  // between all code points, as Python
    RETURN_IF_ERROR(runtime.charge((text.size() + 1) * sizeof(size_t)));
    for (size_t at = 0; at < text.size(); at += code_point_at(text.bytes, at).bytes) hits.push_back(at);
    hits.push_back(text.size());
    if (count >= 0 && static_cast<size_t>(count) < hits.size()) hits.resize(static_cast<size_t>(count));
  } else {
    ASSIGN_OR_RETURN(hits, occurrences(runtime, text.view(), from.view(), count, false));
  }
  if (!hits.empty() && to.size() > runtime.limits.value_bytes / hits.size()) {
    return Error{ErrorCode::kTooLarge,
                 "replace() makes more than the " + std::to_string(runtime.limits.value_bytes) + " bytes allowed"};
  }
  RETURN_IF_ERROR(runtime.charge(hits.size() * to.size()));
  TextBuilder builder;
  size_t begin = 0;
  for (const size_t hit : hits) {
    builder.append(text, begin, hit);
    builder.append(to);
    begin = hit + from.size();
  }
  builder.append(text, begin, text.size());
  return runtime.string(std::move(builder));
}

Result<Value> pad(Runtime& runtime, const Text& text, std::string_view method, int64_t width, const Text& fill) {
  const auto length = static_cast<int64_t>(text.length());
  if (width <= length) return runtime.substring(text, 0, text.size());
  const int64_t missing = width - length;
  if (static_cast<uint64_t>(missing) > runtime.limits.value_bytes / 4) {
    return Error{ErrorCode::kTooLarge, std::string(method) + "() to " + std::to_string(width) + " characters"};
  }
  RETURN_IF_ERROR(runtime.charge(static_cast<size_t>(missing) * fill.size()));
  int64_t left = method == "ljust" ? 0 : missing;
  if (method == "center") left = missing / 2 + (missing & width & 1);
  TextBuilder builder;
  size_t begin = 0;
  if (method == "zfill" && text.size() > 0 && (text.bytes[0] == '+' || text.bytes[0] == '-')) {
    builder.append(text, 0, 1);
    begin = 1;
  }
  for (int64_t i = 0; i < left; ++i) builder.append(fill);
  builder.append(text, begin, text.size());
  for (int64_t i = left; i < missing; ++i) builder.append(fill);
  return runtime.string(std::move(builder));
}

Result<Value> change_case(Runtime& runtime, const Text& text, std::string_view method) {
  TextBuilder builder;
  bool after_cased = false;
  auto range = text.untrusted.begin();
  RETURN_IF_ERROR(runtime.charge(text.size() * 2));
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text.bytes, at);
    std::string mapped;
    if (method == "upper") {
      append_upper(mapped, c.value, false);
    } else if (method == "capitalize" ? at == 0 : method == "title" && !after_cased) {
      append_upper(mapped, c.value, true);
    } else if (method == "swapcase" && is_lower(c.value)) {
      append_upper(mapped, c.value, false);
    } else if (method == "casefold" && c.value == 0xDF) {
      mapped = "ss";
    } else if (method != "swapcase" || is_upper(c.value)) {
      append_lower(mapped, c.value);
    } else {
      append_utf8(mapped, c.value);
    }
    after_cased = is_cased(c.value);
    while (range != text.untrusted.end() && range->end <= at) ++range;
    builder.append(mapped, range != text.untrusted.end() && range->begin <= at);
    at += c.bytes;
  }
  return runtime.string(std::move(builder));
}

std::optional<bool> classify(const Text& text, std::string_view method) {
  if (method == "isascii") return text.ascii;
  const bool about_case = method == "isupper" || method == "islower";
  if (!about_case && method != "isalpha" && method != "isdigit" && method != "isdecimal" && method != "isnumeric" &&
      method != "isalnum" && method != "isspace" && method != "isprintable") {
    return std::nullopt;
  }
  if (method == "isprintable") {
    for (size_t at = 0; at < text.size(); at += code_point_at(text.bytes, at).bytes) {
      const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(code_point_at(text.bytes, at).value));
      const bool other = category >= UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_CN;
      if (other && text.bytes[at] != ' ') return false;
    }
    return true;
  }
  bool any_cased = false;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text.bytes, at);
    at += c.bytes;
    const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c.value));
    const bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
    const bool decimal = category == UTF8PROC_CATEGORY_ND;
    const bool number = decimal || category == UTF8PROC_CATEGORY_NL || category == UTF8PROC_CATEGORY_NO;
    if (about_case) {
      if (method == "isupper" ? is_lower(c.value) || is_title(c.value) : is_upper(c.value) || is_title(c.value))
        return false;
      any_cased = any_cased || is_cased(c.value);
    } else if (method == "isalpha"     ? !letter
               : method == "isspace"   ? !is_space(c.value)
               : method == "isalnum"   ? !letter && !number
               : method == "isnumeric" ? !number
                                       : !decimal) {
      return false;
    }
  }
  return about_case ? any_cased : text.size() > 0;
}

}  // namespace glimpse::jinja
