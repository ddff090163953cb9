#pragma once

// UTF-8 as a tokeniser meets it: maybe broken, and asked only for four classes of character.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace glimpse {

// A code point's class, as bits. A newline is '\r' or '\n', and a space too.
using CharClass = uint8_t;
constexpr CharClass kOtherChar = 0;
constexpr CharClass kLetterChar = 1;   // \p{L}: no combining marks
constexpr CharClass kNumberChar = 2;   // \p{N}
constexpr CharClass kSpaceChar = 4;    // \s: White_Space, so U+0085 is one and U+180E, U+200B and U+FEFF are not
constexpr CharClass kNewlineChar = 8;  // always with kSpaceChar

// One decoded character: `size` bytes, 1 to 4. A byte that begins no valid character stands alone, size 1, code point
// kInvalidByte. Overlong forms, surrogates and values above U+10FFFF are invalid.
struct DecodedChar {
  uint32_t code_point;
  uint32_t size;
};
constexpr uint32_t kInvalidByte = 0xFFFFFFFF;

// The character at `begin`; begin < end.
DecodedChar decode_utf8(const char* begin, const char* end);

// Appends a code point (below 0x110000, no surrogate) as UTF-8.
void append_utf8(std::string& out, uint32_t code_point);

// Appends `bytes` with each broken part replaced by U+FFFD, exactly as Python's bytes.decode("utf-8", "replace") and
// Rust's from_utf8_lossy do (one U+FFFD per maximal subpart, Unicode 3.9 D93b). Unless `final`, an unfinished but so
// far valid character at the end is left alone. Returns the number of bytes consumed: all of them, or up to 3 fewer.
size_t append_lossy_utf8(std::string& out, std::string_view bytes, bool final);

// The classes of all code points (some 200 KB, filled from ranges in some ten microseconds).
// Source: the `tokenizers` library's own answers, python/reference/make_unicode_classes.py.
class CharClasses {
 public:
  CharClasses();

  CharClass of(uint32_t code_point) const { return code_point < table_.size() ? table_[code_point] : kOtherChar; }

 private:
  std::vector<CharClass> table_;
};

}  // namespace glimpse
