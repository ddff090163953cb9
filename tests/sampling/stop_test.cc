#include "sampling/stop.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace glimpse {
namespace {

struct Result {
  std::string text;
  bool stopped = false;
  bool operator==(const Result&) const = default;
};

// What push and finish return for `text`, cut after each byte whose bit is set (1: after the first, ...).
Result run(const std::vector<std::string>& stop, std::string_view text, uint64_t cuts) {
  StopMatcher matcher(stop);
  Result result;
  size_t begin = 0;
  for (size_t end = 1; end <= text.size(); ++end) {
    if (end < text.size() && (cuts >> (end - 1) & 1) == 0) continue;
    const auto output = matcher.push(text.substr(begin, end - begin));
    result.text += output.text;
    result.stopped = output.stopped;
    begin = end;
  }
  result.text += matcher.finish();
  return result;
}

// The definition: the shortest beginning of the text that ends in a stop string, without that string.
Result define(const std::vector<std::string>& stop, std::string_view text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& s : stop) {
      if (text.substr(0, end).ends_with(s)) longest = std::max(longest, s.size());
    }
    if (longest > 0) return {std::string(text.substr(0, end - longest)), true};
  }
  return {std::string(text), false};
}

TEST(StopMatcher, EqualsTheDefinitionHoweverTheTextIsCut) {
  uint64_t state = 3;
  const auto draw = [&state](uint64_t below) {
    state = state * 6364136223846793005 + 1442695040888963407;
    return (state >> 33) % below;
  };
  const auto random_text = [&](uint64_t size) {
    std::string text;
    for (; size > 0; --size) text += static_cast<char>('a' + draw(3));
    return text;
  };
  size_t num_stopped = 0;
  for (int round = 0; round < 4000; ++round) {
    std::vector<std::string> stop;
    for (uint64_t i = draw(4); i > 0; --i) stop.push_back(random_text(1 + draw(6)));
    const std::string text = random_text(1 + draw(14));
    const Result expected = define(stop, text);
    num_stopped += expected.stopped;
    for (int i = 0; i < 12; ++i) {
      const uint64_t cuts = i == 0 ? 0 : i == 1 ? ~uint64_t{0} : draw(1 << 14);
      ASSERT_EQ(run(stop, text, cuts), expected) << text;
    }
  }
  EXPECT_GT(num_stopped, 1000u);
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBeAStop) {
  StopMatcher matcher({"</s>", "停止"});
  EXPECT_EQ(matcher.push("a<").text, "a");
  EXPECT_EQ(matcher.push("b</").text, "<b");
  EXPECT_EQ(matcher.push("s").text, "");
  EXPECT_EQ(matcher.push("ss停").text, "</sss");
  const auto last = matcher.push("止 more");
  EXPECT_EQ(last.text, "");
  EXPECT_TRUE(last.stopped);
  EXPECT_EQ(matcher.push("anything").text, "");
  EXPECT_EQ(matcher.finish(), "");
}

TEST(StopMatcher, WithoutStopStringsNothingWaits) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc").text, "abc");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace glimpse
