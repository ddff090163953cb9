#include "jinja/text.h"

#include <algorithm>
#include <cstring>

namespace glimpse::jinja {

namespace {

bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

bool is_ascii(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

}  // namespace

size_t Text::length() const {
  if (ascii) return bytes.size();
  return static_cast<size_t>(std::count_if(bytes.begin(), bytes.end(), [](char c) { return !is_continuation(c); }));
}

size_t Text::byte_offset(size_t index) const {
  if (ascii) return std::min(index, bytes.size());
  size_t at = 0;
  while (index > 0 && at < bytes.size()) {
    ++at;
    while (at < bytes.size() && is_continuation(bytes[at])) ++at;
    --index;
  }
  return at;
}

void TextBuilder::mark(size_t begin, size_t end) {
  if (begin == end) return;
  if (!untrusted_.empty() && untrusted_.back().end == begin) {
    untrusted_.back().end = end;
  } else {
    untrusted_.push_back({begin, end});
  }
}

void TextBuilder::append(std::string_view piece, bool untrusted) {
  const size_t begin = bytes_.size();
  bytes_ += piece;
  if (untrusted) mark(begin, bytes_.size());
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  const size_t base = bytes_.size();
  bytes_.append(text.bytes, begin, end - begin);
  auto range = std::upper_bound(text.untrusted.begin(), text.untrusted.end(), begin,
                                [](size_t at, const ByteRange& r) { return at < r.end; });
  for (; range != text.untrusted.end() && range->begin < end; ++range) {
    mark(base + std::max(range->begin, begin) - begin, base + std::min(range->end, end) - begin);
  }
}

Text TextBuilder::take() {
  Text text{.bytes = std::move(bytes_), .untrusted = std::move(untrusted_)};
  text.ascii = is_ascii(text.bytes);
  bytes_.clear();
  untrusted_.clear();
  return text;
}

TextPtr trusted_text(std::string_view bytes) {
  return text_of(bytes, false);
}

TextPtr text_of(std::string_view bytes, bool untrusted) {
  Text text{.bytes = std::string(bytes), .untrusted = {}, .ascii = is_ascii(bytes)};
  if (untrusted && !bytes.empty()) text.untrusted.push_back({0, bytes.size()});
  return std::make_shared<const Text>(std::move(text));
}

TextPtr slice(const Text& text, size_t begin, size_t end) {
  TextBuilder builder;
  builder.append(text, begin, end);
  return std::make_shared<const Text>(builder.take());
}

CodePoint code_point_at(std::string_view bytes, size_t at) {
  const auto byte = [&](size_t offset) {
    return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at + offset]));
  };
  const uint32_t lead = byte(0);
  const size_t left = bytes.size() - at;
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0 && left >= 2) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0 && left >= 3) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  if (left >= 4) {
    return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
  }
  return {0xFFFD, 1};
}

size_t previous_code_point(std::string_view bytes, size_t at) {
  do {
    --at;
  } while (at > 0 && is_continuation(bytes[at]));
  return at;
}

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool is_valid_utf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const auto lead = static_cast<unsigned char>(bytes[at]);
    if (lead < 0x80) {
      ++at;
      continue;
    }
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || bytes.size() - at < length) return false;
    for (size_t i = 1; i < length; ++i) {
      if (!is_continuation(bytes[at + i])) return false;
    }
    const uint32_t c = code_point_at(bytes, at).value;
    if (length == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) return false;
    if (length == 4 && (c < 0x10000 || c > 0x10FFFF)) return false;
    at += length;
  }
  return true;
}

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

ByteRange strip_range(std::string_view bytes, std::string_view characters, bool left, bool right) {
  const auto strips = [&](size_t at, const CodePoint& c) {
    if (characters.empty()) return is_space(c.value);
    return characters.find(bytes.substr(at, c.bytes)) != std::string_view::npos;
  };
  ByteRange kept{0, bytes.size()};
  while (left && kept.begin < kept.end) {
    const CodePoint c = code_point_at(bytes, kept.begin);
    if (!strips(kept.begin, c)) break;
    kept.begin += c.bytes;
  }
  while (right && kept.begin < kept.end) {
    const size_t at = previous_code_point(bytes, kept.end);
    if (!strips(at, code_point_at(bytes, at))) break;
    kept.end = at;
  }
  return kept;
}

size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from) {
  if (from > haystack.size()) return std::string_view::npos;
  const void* hit = memmem(haystack.data() + from, haystack.size() - from, needle.data(), needle.size());
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(hit) - haystack.data());
}

}  // namespace glimpse::jinja
