#include "tokenizer/unicode.h"

#include <gtest/gtest.h>

#include "tokenizer/nfc.h"

namespace glimpse {
namespace {

std::string lossy(std::string_view bytes, bool final = true) {
  std::string out;
  append_lossy_utf8(out, bytes, final);
  return out;
}

TEST(Utf8, EveryCodePointComesBack) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string text;
    append_utf8(text, c);
    const DecodedChar decoded = decode_utf8(text.data(), text.data() + text.size());
    ASSERT_EQ(decoded.code_point, c);
    ASSERT_EQ(decoded.size, text.size());
    ASSERT_EQ(lossy(text), text);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(decode_utf8(text.data(), text.data() + cut).code_point, kInvalidByte);
    }
  }
}

TEST(Utf8, BrokenBytesAreReplacedAsInPython) {
  // What python3 -c 'print(b"...".decode("utf-8", "replace"))' prints; a dot stands for U+FFFD.
  const std::pair<std::string, std::string> cases[] = {
      {"a\x80z", "a.z"},
      {"\xC0\x80", ".."},
      {"\xC2z", ".z"},
      {"\xE4\xBD", "."},
      {"\xE4\xBDz", ".z"},
      {"\xE0\x80\x80", "..."},
      {"\xED\xA0\x80", "..."},
      {"\xF0\x9F\x98", "."},
      {"\xF0\x9F\x98z", ".z"},
      {"\xF0\x80\x80\x80", "...."},
      {"\xF4\x90\x80\x80", "...."},
      {"\xF5z", ".z"},
      {"\xF0\x9F\xF0\x9F", ".."},
      {"\xE4\xE4\xBD\xA0", ".你"},
      {"\xFF\xFE", ".."},
  };
  for (const auto& [bytes, shown] : cases) {
    std::string expected;
    for (const char c : shown) expected += c == '.' ? "\xEF\xBF\xBD" : std::string(1, c);
    EXPECT_EQ(lossy(bytes), expected) << shown;
  }
}

TEST(Utf8, AnUnfinishedCharacterIsLeftForLater) {
  std::string out;
  EXPECT_EQ(append_lossy_utf8(out, "a\xE4\xBD", false), 1u);
  EXPECT_EQ(out, "a");
  EXPECT_EQ(append_lossy_utf8(out, "\xF0\x9F\x98", false), 0u);
  EXPECT_EQ(append_lossy_utf8(out, "\xED\xA0", false), 2u) << "a surrogate cannot become a character";
  EXPECT_EQ(append_lossy_utf8(out, "\xFF", false), 1u);
}

TEST(CharClasses, AreTheLibrarysOwn) {
  const CharClasses classes;
  for (const uint32_t c : {0x20u, 0x09u, 0x0Bu, 0x0Cu, 0x85u, 0xA0u, 0x1680u, 0x2000u, 0x200Au, 0x2028u, 0x2029u,
                           0x202Fu, 0x205Fu, 0x3000u}) {
    EXPECT_EQ(classes.of(c), kSpaceChar) << std::hex << c;
  }
  EXPECT_EQ(classes.of('\n'), kSpaceChar | kNewlineChar);
  for (const uint32_t c : {0x1Cu, 0x1Fu, 0x180Eu, 0x200Bu, 0xFEFFu, 0x301u, 0xFE0Fu, 0x10FFFFu, kInvalidByte}) {
    EXPECT_EQ(classes.of(c), kOtherChar) << std::hex << c;
  }
  for (const uint32_t c : {0x41u, 0xAAu, 0x2B0u, 0x4E00u, 0x9FFFu, 0xAC00u, 0x20000u, 0x323AFu}) {
    EXPECT_EQ(classes.of(c), kLetterChar) << std::hex << c;
  }
  for (const uint32_t c : {0x30u, 0xB2u, 0xBDu, 0x2160u, 0x3007u, 0xFF11u}) {
    EXPECT_EQ(classes.of(c), kNumberChar) << std::hex << c;
  }
}

TEST(Nfc, ComposesAndKeepsBrokenBytes) {
  EXPECT_EQ(to_nfc("plain"), "plain");
  EXPECT_EQ(to_nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(to_nfc("e\u0301\xFF\u0301"), "\u00e9\xFF\u0301");
  EXPECT_EQ(to_nfc("a\u0323\u0302"), to_nfc("a\u0302\u0323"));
  // A long run of marks in falling order of their class: quadratic for who sorts by insertion.
  std::string marks = "a";
  for (int i = 0; i < 200'000; ++i) marks += "\u0301";
  for (int i = 0; i < 200'000; ++i) marks += "\u0323";
  const std::string composed = to_nfc(marks);
  EXPECT_EQ(composed.size(), marks.size()) << "a, two bytes of mark: three bytes of \u1EA1";
  EXPECT_TRUE(composed.starts_with("\u1EA1\u0323"));
}

}  // namespace
}  // namespace glimpse
