#pragma once

// Strings that remember where they came from. Each byte of a Text is either trusted (the template's own words) or
// untrusted (it came out of messages, tools or arguments), and every operation that copies bytes copies that mark with
// them. The tokenizer may turn trusted bytes into special tokens and must never do so with untrusted ones.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_range.h"

namespace glimpse::jinja {

// Valid UTF-8, never changed once built. Positions are bytes unless a name says code points.
struct Text {
  std::string bytes;
  std::vector<ByteRange> untrusted;  // sorted, disjoint, coalesced
  bool ascii = true;                 // every code point is one byte

  size_t size() const { return bytes.size(); }
  std::string_view view() const { return bytes; }
  bool is_untrusted() const { return !untrusted.empty(); }
  // Code points; linear in size() unless ascii.
  size_t length() const;
  // Byte offset of code point `index`, size() when there are not so many.
  size_t byte_offset(size_t index) const;
};

using TextPtr = std::shared_ptr<const Text>;

// Collects pieces into a Text. Adjacent untrusted pieces become one range.
class TextBuilder {
 public:
  void append(std::string_view trusted) { bytes_ += trusted; }
  void append(std::string_view piece, bool untrusted);
  void append(const Text& text) { append(text, 0, text.size()); }
  // The bytes [begin, end) of text with their marks. Linear in the piece, logarithmic in the text's ranges.
  void append(const Text& text, size_t begin, size_t end);

  size_t size() const { return bytes_.size(); }
  std::string_view view() const { return bytes_; }
  Text take();

 private:
  void mark(size_t begin, size_t end);

  std::string bytes_;
  std::vector<ByteRange> untrusted_;
};

TextPtr trusted_text(std::string_view bytes);
TextPtr text_of(std::string_view bytes, bool untrusted);
TextPtr slice(const Text& text, size_t begin, size_t end);

// The code point that starts at byte `at` of valid UTF-8, and how many bytes it takes.
struct CodePoint {
  uint32_t value = 0;
  size_t bytes = 1;
};
CodePoint code_point_at(std::string_view bytes, size_t at);
size_t previous_code_point(std::string_view bytes, size_t at);  // byte offset of the one that ends at `at` > 0
void append_utf8(std::string& out, uint32_t code_point);
bool is_valid_utf8(std::string_view bytes);

// Python's str.isspace() for one code point.
bool is_space(uint32_t code_point);

// Bytes [begin, end) that str.strip() leaves; an empty `characters` means white space.
ByteRange strip_range(std::string_view bytes, std::string_view characters, bool left, bool right);

// First occurrence of needle at or after `from`, npos if none. Linear whatever the needle (glibc's two-way search).
size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from);

}  // namespace glimpse::jinja
