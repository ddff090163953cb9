#include "tokenizer/splitter.h"

#include <gtest/gtest.h>

#include "tests/tokenizer/testing.h"

namespace glimpse {
namespace {

std::vector<std::string> pieces(const Splitter& splitter, std::string_view text) {
  std::vector<size_t> ends;
  EXPECT_TRUE(splitter.split(text, ends));
  std::vector<std::string> found;
  size_t begin = 0;
  for (const size_t end : ends) {
    found.emplace_back(text.substr(begin, end - begin));
    begin = end;
  }
  EXPECT_EQ(begin, text.size());
  return found;
}

TEST(GlmSplitter, CutsAsThePatternSays) {
  const auto splitter = *make_splitter(kGlmPattern);
  using Pieces = std::vector<std::string>;
  const std::pair<std::string, Pieces> cases[] = {
      {"Hello world", {"Hello", " world"}},
      {"12345", {"123", "45"}},
      {"don'T", {"don", "'T"}},
      {"I'LLama 'Re", {"I", "'LL", "ama", " '", "Re"}},
      {"a'\u017F", {"a", "'\u017F"}},
      {"a \n \n  b", {"a", " \n \n", " ", " b"}},
      {"a  \r\n", {"a", "  \r\n"}},
      {"!\n\nb ", {"!\n\n", "b", " "}},
      {"x\u0085\u0085y", {"x", "\u0085", "\u0085y"}},
      {"    ctx", {"   ", " ctx"}},
      {"   ", {"   "}},
      {"\u3000\u3000中", {"\u3000", "\u3000中"}},
      {"e\u0301", {"e", "\u0301"}},
      {"a\xFF\xFE b", {"a", "\xFF\xFE", " b"}},
      {"", {}},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(pieces(*splitter, text), expected) << text;
}

// The hand-written splitter against the regular expression it stands for.
TEST(GlmSplitter, EqualsItsPattern) {
  const std::string one_digit =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const std::string possessive =
      R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
  const std::string ascii =
      R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  // Fragments only: of single code points the regular expression library's Unicode version knows fewer.
  StringGenerator generator(read_fragments(), true);
  for (const std::string& pattern : {std::string(kGlmPattern), one_digit, possessive, ascii}) {
    const auto fast = *make_splitter(pattern);
    const auto slow = *make_regex_splitter(pattern);
    for (uint64_t i = 0; i < 5000; ++i) {
      const std::string text = generator.make(11, i);
      ASSERT_EQ(pieces(*fast, text), pieces(*slow, text)) << pattern << "\n" << text;
    }
  }
}

TEST(RegexSplitter, KeepsWhatNoMatchCovers) {
  const auto splitter = *make_splitter(R"(\d+)");
  EXPECT_EQ(pieces(*splitter, "ab12cd3"), (std::vector<std::string>{"ab", "12", "cd", "3"}));
  EXPECT_EQ(pieces(**make_splitter("x*"), "axxb"), (std::vector<std::string>{"a", "xx", "b"}));
  EXPECT_EQ(pieces(**make_splitter("x*"), "你"), (std::vector<std::string>{"你"}));
}

TEST(RegexSplitter, RefusesWhatItWouldReadDifferently) {
  for (const char* pattern : {"(", "[a", "\\h+", "\\w+", "[a&&b]", "[a[b]]", "a{1,3}+", "[\\S]", "\\bx"}) {
    const auto splitter = make_splitter(pattern);
    ASSERT_FALSE(splitter) << pattern;
    EXPECT_EQ(splitter.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(splitter.error().message.find("pattern"), std::string::npos);
  }
  EXPECT_FALSE(make_splitter(std::string(100'000, 'a')));
}

TEST(RegexSplitter, StopsAHostilePattern) {
  const auto splitter = *make_splitter("(a|aa)+$");
  std::vector<size_t> ends;
  const Status status = splitter->split(std::string(200, 'a') + "b", ends);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace glimpse
