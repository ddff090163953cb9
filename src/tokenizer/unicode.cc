#include "tokenizer/unicode.h"

#include <cstring>
#include <iterator>

namespace glimpse {

namespace {

struct CodePointRange {
  uint32_t first;
  uint32_t last;
};

#include "tokenizer/unicode_ranges.inc"

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

uint8_t byte_at(const char* p) {
  return static_cast<uint8_t>(*p);
}

// How many bytes a character with this first byte has, 0 if none begins so; and the bounds of its second byte, which
// alone rule out overlong forms, surrogates and values above U+10FFFF (Unicode table 3-7).
struct Lead {
  uint32_t size;
  uint8_t second_min;
  uint8_t second_max;
};

Lead lead_of(uint8_t first) {
  if (first < 0xC2) return {0, 0, 0};
  if (first < 0xE0) return {2, 0x80, 0xBF};
  if (first == 0xE0) return {3, 0xA0, 0xBF};
  if (first == 0xED) return {3, 0x80, 0x9F};
  if (first < 0xF0) return {3, 0x80, 0xBF};
  if (first == 0xF0) return {4, 0x90, 0xBF};
  if (first < 0xF4) return {4, 0x80, 0xBF};
  if (first == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

// The length of the longest prefix of [begin, end) that could begin one character; `complete` if it is one.
// At least 1, so that broken bytes advance.
size_t subpart_length(const char* begin, const char* end, bool& complete) {
  const Lead lead = lead_of(byte_at(begin));
  complete = false;
  size_t length = 1;
  while (length < lead.size && begin + length < end) {
    const uint8_t byte = byte_at(begin + length);
    const uint8_t low = length == 1 ? lead.second_min : 0x80;
    const uint8_t high = length == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return length;
    ++length;
  }
  complete = length == lead.size;
  return length;
}

}  // namespace

DecodedChar decode_utf8(const char* begin, const char* end) {
  const uint8_t first = byte_at(begin);
  if (first < 0x80) return {first, 1};
  const Lead lead = lead_of(first);
  if (lead.size == 0 || static_cast<size_t>(end - begin) < lead.size) return {kInvalidByte, 1};
  const uint8_t second = byte_at(begin + 1);
  if (second < lead.second_min || second > lead.second_max) return {kInvalidByte, 1};
  if (lead.size == 2) return {(first & 0x1Fu) << 6 | (second & 0x3Fu), 2};
  const uint8_t third = byte_at(begin + 2);
  if ((third & 0xC0) != 0x80) return {kInvalidByte, 1};
  if (lead.size == 3) return {(first & 0x0Fu) << 12 | (second & 0x3Fu) << 6 | (third & 0x3Fu), 3};
  const uint8_t fourth = byte_at(begin + 3);
  if ((fourth & 0xC0) != 0x80) return {kInvalidByte, 1};
  return {(first & 0x07u) << 18 | (second & 0x3Fu) << 12 | (third & 0x3Fu) << 6 | (fourth & 0x3Fu), 4};
}

void append_utf8(std::string& out, uint32_t code_point) {
  const auto put = [&out](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | code_point >> 6);
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | code_point >> 12);
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | code_point >> 18);
    put(0x80 | (code_point >> 12 & 0x3F));
    put(0x80 | (code_point >> 6 & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

size_t append_lossy_utf8(std::string& out, std::string_view bytes, bool final) {
  const char* const end = bytes.data() + bytes.size();
  const char* valid = bytes.data();  // start of the valid run not yet appended
  const char* at = valid;
  while (at < end) {
    if (byte_at(at) < 0x80) {
      ++at;
      continue;
    }
    bool complete = false;
    const size_t length = subpart_length(at, end, complete);
    if (complete) {
      at += length;
      continue;
    }
    out.append(valid, at);
    if (at + length == end && !final && lead_of(byte_at(at)).size != 0) {
      return static_cast<size_t>(at - bytes.data());
    }
    out.append(kReplacement);
    at += length;
    valid = at;
  }
  out.append(valid, end);
  return bytes.size();
}

CharClasses::CharClasses() {
  table_.resize(std::end(kLetterRanges)[-1].last + 1);
  const auto mark = [this](const auto& ranges, CharClass value) {
    for (const CodePointRange& range : ranges) {
      std::memset(table_.data() + range.first, value, range.last - range.first + 1);
    }
  };
  mark(kLetterRanges, kLetterChar);
  mark(kNumberRanges, kNumberChar);
  mark(kSpaceRanges, kSpaceChar);
  table_['\n'] = table_['\r'] = kSpaceChar | kNewlineChar;
}

}  // namespace glimpse
