#include "grammar/code_points.h"

#include <algorithm>
#include <array>
#include <string>

namespace glimpse {

namespace {

constexpr uint32_t kLast = 0x10FFFF;
constexpr uint32_t kFirstSurrogate = 0xD800;
constexpr uint32_t kLastSurrogate = 0xDFFF;

std::array<uint8_t, 4> encode(uint32_t c, int length) {
  switch (length) {
    case 1:
      return {static_cast<uint8_t>(c)};
    case 2:
      return {static_cast<uint8_t>(0xC0 | c >> 6), static_cast<uint8_t>(0x80 | (c & 0x3F))};
    case 3:
      return {static_cast<uint8_t>(0xE0 | c >> 12), static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)),
              static_cast<uint8_t>(0x80 | (c & 0x3F))};
    default:
      return {static_cast<uint8_t>(0xF0 | c >> 18), static_cast<uint8_t>(0x80 | (c >> 12 & 0x3F)),
              static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)), static_cast<uint8_t>(0x80 | (c & 0x3F))};
  }
}

// [low, high] of one encoded length, such that all but the first differing byte run over everything.
void add_range(Nfa& nfa, int32_t from, uint32_t low, uint32_t high, int length, int32_t to) {
  const auto first = encode(low, length);
  const auto last = encode(high, length);
  // Split until the bytes' ranges are independent (Russ Cox, "Regular Expression Matching in the Wild", 2010).
  for (int i = 1; i < length; ++i) {
    const uint32_t mask = (uint32_t{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      add_range(nfa, from, low, low | mask, length, to);
      add_range(nfa, from, (low | mask) + 1, high, length, to);
      return;
    }
    if ((high & mask) != mask) {
      add_range(nfa, from, low, (high & ~mask) - 1, length, to);
      add_range(nfa, from, high & ~mask, high, length, to);
      return;
    }
  }
  for (int i = 0; i < length; ++i) {
    const int32_t next = i + 1 == length ? to : nfa.add_state();
    nfa.add_bytes(from, first[static_cast<size_t>(i)], last[static_cast<size_t>(i)], next);
    from = next;
  }
}

}  // namespace

CodePointSet CodePointSet::all() {
  return of(0, kLast);
}

CodePointSet CodePointSet::of(uint32_t low, uint32_t high) {
  CodePointSet set;
  set.add(low, high);
  return set;
}

void CodePointSet::add(uint32_t low, uint32_t high) {
  high = std::min(high, kLast);
  if (low <= kLastSurrogate && high >= kFirstSurrogate) {
    if (low < kFirstSurrogate) add(low, kFirstSurrogate - 1);
    if (high > kLastSurrogate) add(kLastSurrogate + 1, high);
    return;
  }
  if (low > high) return;
  std::vector<std::pair<uint32_t, uint32_t>> merged;
  for (const auto& range : ranges_) {
    if (range.second + 1 < low || range.first > high + 1) {
      merged.push_back(range);
    } else {
      low = std::min(low, range.first);
      high = std::max(high, range.second);
    }
  }
  merged.emplace_back(low, high);
  std::sort(merged.begin(), merged.end());
  ranges_ = std::move(merged);
}

void CodePointSet::add(const CodePointSet& other) {
  for (const auto& [low, high] : other.ranges_) add(low, high);
}

void CodePointSet::remove(uint32_t low, uint32_t high) {
  std::vector<std::pair<uint32_t, uint32_t>> left;
  for (const auto& range : ranges_) {
    if (range.first < low) left.emplace_back(range.first, std::min(range.second, low - 1));
    if (range.second > high) left.emplace_back(std::max(range.first, high + 1), range.second);
  }
  ranges_ = std::move(left);
}

CodePointSet CodePointSet::complement() const {
  CodePointSet set = all();
  for (const auto& [low, high] : ranges_) set.remove(low, high);
  return set;
}

bool CodePointSet::contains(uint32_t code_point) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const auto& range) { return range.first <= code_point && code_point <= range.second; });
}

void add_utf8(Nfa& nfa, int32_t from, const CodePointSet& set, int32_t to) {
  static constexpr std::array<uint32_t, 4> kLastOfLength = {0x7F, 0x7FF, 0xFFFF, kLast};
  for (const auto& [low, high] : set.ranges()) {
    uint32_t begin = 0;
    for (int length = 1; length <= 4; ++length) {
      const uint32_t end = kLastOfLength[static_cast<size_t>(length) - 1];
      if (std::max(low, begin) <= std::min(high, end)) {
        add_range(nfa, from, std::max(low, begin), std::min(high, end), length, to);
      }
      begin = end + 1;
    }
  }
}

void add_json_escaped(Nfa& nfa, int32_t from, const CodePointSet& set, int32_t to) {
  CodePointSet plain = set;
  plain.remove(0, 0x1F);
  plain.remove('"', '"');
  plain.remove('\\', '\\');
  add_utf8(nfa, from, plain, to);
  static constexpr char kHex[] = "0123456789abcdef";
  for (uint32_t c = 0; c <= '\\'; ++c) {
    if ((c >= 0x20 && c != '"' && c != '\\') || !set.contains(c)) continue;
    std::string escape = "\\";
    static constexpr std::string_view kShort = "\b\f\n\r\t\"\\";
    static constexpr std::string_view kLetters = "bfnrt\"\\";
    if (const size_t at = kShort.find(static_cast<char>(c)); c != 0 && at != std::string_view::npos) {
      escape += kLetters[at];
    } else {
      escape += "u00";
      escape += kHex[c >> 4];
      escape += kHex[c & 15];
    }
    nfa.add_free(nfa.add_text(from, escape), to);
  }
}

}  // namespace glimpse
