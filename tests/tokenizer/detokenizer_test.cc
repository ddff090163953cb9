#include "tokenizer/detokenizer.h"

#include "tests/tokenizer/testing.h"

namespace glimpse {
namespace {

TEST(Detokenizer, NeverEmitsHalfACharacter) {
  const Tokenizer tokenizer = load_mini();
  uint64_t state = 5;
  for (int round = 0; round < 3000; ++round) {
    Ids ids;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005 + 1442695040888963407;
      // Half of them from the first 256, the single bytes.
      const uint64_t draw = state >> 33;
      ids.push_back(static_cast<int32_t>(draw & 1 ? draw / 2 % 256 : draw / 2 % 4100));
    }
    for (const bool skip : {false, true}) {
      Detokenizer detokenizer(tokenizer, skip);
      std::string joined;
      for (const int32_t id : ids) {
        const std::string part(detokenizer.push(id));
        std::string checked;
        append_lossy_utf8(checked, part, true);
        ASSERT_EQ(checked, part) << "a part is whole characters by itself";
        joined += part;
      }
      joined += detokenizer.finish();
      ASSERT_EQ(joined, tokenizer.decode(ids, skip));
      ASSERT_EQ(detokenizer.finish(), "");
    }
  }
}

TEST(Detokenizer, HoldsBackAndReplaces) {
  const Tokenizer tokenizer = load_mini();
  const auto byte = [&](char c) { return *tokenizer.find_token(std::string_view(&c, 1)); };
  Detokenizer detokenizer(tokenizer);
  EXPECT_EQ(detokenizer.push(byte('\xE4')), "");
  EXPECT_EQ(detokenizer.push(byte('\xBD')), "");
  EXPECT_EQ(detokenizer.push(byte('\xA0')), "你");
  EXPECT_EQ(detokenizer.push(byte('\xF0')), "");
  EXPECT_EQ(detokenizer.push(byte('a')), "\uFFFDa");
  EXPECT_EQ(detokenizer.push(byte('\xF0')), "");
  EXPECT_EQ(detokenizer.push(*tokenizer.find_token("<|user|>")), "") << "a skipped token changes nothing";
  EXPECT_EQ(detokenizer.finish(), "\uFFFD");
  EXPECT_EQ(detokenizer.push(99'999'999), "");
  EXPECT_EQ(detokenizer.push(-1), "");
}

}  // namespace
}  // namespace glimpse
