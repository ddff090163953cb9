#include "grammar/regex.h"

#include <chrono>
#include <regex>

#include "tests/grammar/sampling.h"

namespace glimpse {
namespace {

TEST(Regex, Matches) {
  const auto yes = [](const char* pattern, std::initializer_list<const char*> texts) {
    for (const char* text : texts) EXPECT_TRUE(matches(regex_of(pattern), text)) << pattern << " " << text;
  };
  const auto no = [](const char* pattern, std::initializer_list<const char*> texts) {
    for (const char* text : texts) EXPECT_FALSE(matches(regex_of(pattern), text)) << pattern << " " << text;
  };
  yes("abc", {"abc"});
  no("abc", {"", "ab", "abcd", "xabc"});
  yes("^a|^b", {});
  yes("a*b+c?", {"b", "aabbc"});
  no("a*b+c?", {"a", "bcc"});
  yes("(ab|cd){2,3}", {"abcd", "ababab"});
  no("(ab|cd){2,3}", {"ab", "abababab"});
  yes("[^a-c\\d]x", {"dx", "图x"});
  no("[^a-c\\d]x", {"ax", "5x"});
  yes(".", {"a", "é", "图", "🐈"});
  no(".", {"\n", "ab", ""});
  yes("\\w+@\\w+\\.com", {"a_1@b.com"});
  yes("(?:a|(?P<name>b)|(?<n2>c))", {"a", "b", "c"});
  yes("[\\]\\-x]+", {"]-x"});
  yes("[a-]", {"a", "-"});
  yes("\\x41\\u0042\\x{43}", {"ABC"});
  yes("^a{0}b$", {"b"});
  yes("a{2}?", {"aa"});
  yes("", {""});
}

TEST(Regex, RefusesWhatIsNotRegular) {
  for (const char* pattern : {"(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "\\bword", "(?i)a", "a++", "\\p{L}", "a^b", "a$b",
                              "^a|b$", "[[:alpha:]]", "(?>a)"}) {
    const auto made = compile(regex_of(pattern));
    ASSERT_FALSE(made) << pattern;
    EXPECT_EQ(made.error().code, ErrorCode::kUnsupported) << pattern << made.error().message;
  }
  for (const char* pattern :
       {"(", ")", "[", "a{", "a{2", "*a", "+", "a{3,2}", "a{1001}", "\\", "[z-a]", "\\xZZ", "(?<n", "\xff"}) {
    EXPECT_FALSE(compile(regex_of(pattern))) << pattern;
  }
}

TEST(Regex, CatastrophicPatternsStayCheap) {
  const auto begin = std::chrono::steady_clock::now();
  for (const char* pattern : {"(a*)*b", "(a|a)*b", "(a|b)*a(a|b){30}", "((a{100}){100}){100}", "(.*a){20}", "(x+x+)+y",
                              "([a-z]+)*[0-9]", "(a?){500}a{500}"}) {
    const auto made = compile(regex_of(pattern));
    EXPECT_TRUE(made || made.error().code == ErrorCode::kTooLarge) << pattern << made.error().message;
  }
  EXPECT_FALSE(compile(regex_of("(a|b)*a(a|b){30}")));
  EXPECT_FALSE(compile(regex_of(std::string(3000, '(') + "a" + std::string(3000, ')'))));
  // Not a limit on speed: the point is that none of them takes minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(Regex, DrawnTextsMatch) {
  std::mt19937_64 random(7);
  for (const char* pattern : {"[a-f0-9]{4}(-[a-f0-9]{4}){2}", "(yes|no|maybe)(, (yes|no))*", "-?\\d+(\\.\\d{1,3})?",
                              "[A-Z][a-z]{0,5}\\s\"[^\"]{1,4}\""}) {
    int ended = 0;
    for (int i = 0; i < 30; ++i) {
      const auto text = draw(mask_of(regex_of(pattern)), random, 400);
      if (!text) continue;
      ++ended;
      if (std::all_of(text->begin(), text->end(), [](char c) { return c > 0; })) {
        EXPECT_TRUE(std::regex_match(*text, std::regex(pattern))) << pattern << " " << *text;
      }
    }
    EXPECT_GT(ended, 10) << pattern;
  }
}

TEST(Choice, ExactlyOneOfThem) {
  const Constraint constraint{.kind = Constraint::Kind::kChoice, .choices = {"cat", "cats", "dog", "图"}};
  for (const char* text : {"cat", "cats", "dog", "图"}) EXPECT_TRUE(matches(constraint, text));
  for (const char* text : {"ca", "catsx", "do", ""}) EXPECT_FALSE(matches(constraint, text));
  Constraint many{.kind = Constraint::Kind::kChoice};
  for (int i = 0; i < 10000; ++i) many.choices.push_back("choice number " + std::to_string(i * 7919));
  EXPECT_TRUE(matches(many, "choice number 79190"));
}

}  // namespace
}  // namespace glimpse
