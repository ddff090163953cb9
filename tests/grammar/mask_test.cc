#include "grammar/mask.h"

#include "grammar/matcher.h"
#include "tests/grammar/sampling.h"

namespace glimpse {
namespace {

bool allows(const std::shared_ptr<TokenMask>& mask, int32_t id) {
  return (mask->allowed()[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

int32_t id_of(std::string_view text) {
  const auto id = mini_source().tokenizer.find_token(text);
  EXPECT_TRUE(id) << text;
  return id.value_or(0);
}

// The fast way (trees of tokens, masks kept per place) allows exactly the tokens that can be read byte by byte.
TEST(Mask, EqualsTryingEveryToken) {
  const auto vocabulary = mini_vocabulary();
  std::mt19937_64 random(5);
  for (
      const std::string& schema :
      {std::string(
           R"({"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array","items":{"type":"number"},"maxItems":3},"c":{"type":"string","maxLength":9}},"required":["a","c"]})"),
       std::string(R"({})"), std::string(R"({"type":"string","pattern":"^(ab|cd)*[0-9]{2}$"})")}) {
    const auto grammar = compile(schema_of(schema));
    ASSERT_TRUE(grammar);
    for (int run = 0; run < 4; ++run) {
      const auto mask = make_mask(vocabulary, *grammar, {.stop_ids = {kStopId}});
      std::vector<int32_t> written;
      for (int step = 0; step < 14; ++step) {
        const auto span = mask->allowed();
        const std::vector<uint64_t> words(span.begin(), span.end());
        std::vector<int32_t> ids;
        for (int32_t id = 0; id < static_cast<int32_t>(vocabulary->size()); ++id) {
          const bool allowed = (words[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
          if (id == kStopId || vocabulary->bytes(id).empty()) continue;
          if (allowed) ids.push_back(id);
          if (random() % 7 != 0 && !allowed) continue;  // a sample of the many others
          Matcher matcher(vocabulary, *grammar);
          bool possible = true;
          for (const int32_t before : written) possible = possible && matcher.accept(vocabulary->bytes(before));
          ASSERT_TRUE(possible);
          ASSERT_EQ(matcher.accept(vocabulary->bytes(id)), allowed) << schema << " token " << vocabulary->bytes(id);
        }
        if (ids.empty()) break;
        written.push_back(ids[random() % ids.size()]);
        mask->accept(written.back());
      }
    }
  }
}

TEST(Mask, StopTokensOnlyWhereTheTextMayEnd) {
  const auto mask = mask_of(schema_of(R"({"type":"integer"})"));
  EXPECT_FALSE(allows(mask, kStopId));
  mask->accept(id_of("4"));
  EXPECT_TRUE(allows(mask, kStopId));
  EXPECT_TRUE(allows(mask, id_of("2")));
  EXPECT_FALSE(allows(mask, id_of("\"")));
}

TEST(Mask, ReasoningComesFirst) {
  MaskOptions options{
      .may_think = true, .leading_newlines = true, .think_id = id_of("<think>"), .end_think_id = id_of("</think>")};
  const auto mask = mask_of(schema_of(R"({"type":"object"})"), options);
  EXPECT_TRUE(allows(mask, id_of("\n")));
  EXPECT_TRUE(allows(mask, id_of("{")));
  EXPECT_TRUE(allows(mask, options.think_id));
  EXPECT_FALSE(allows(mask, id_of("a")));
  mask->accept(id_of("\n"));
  mask->accept(options.think_id);
  EXPECT_TRUE(allows(mask, id_of("a")));
  EXPECT_FALSE(allows(mask, kStopId)) << "the object is still to come";
  mask->accept(id_of("a"));
  mask->accept(options.end_think_id);
  EXPECT_FALSE(allows(mask, id_of("a")));
  EXPECT_FALSE(allows(mask, options.think_id));
  mask->accept(id_of("\n"));
  mask->accept(id_of("{"));
  EXPECT_TRUE(allows(mask, id_of("}")));
  EXPECT_TRUE(allows(mask, id_of("\"")));
  mask->accept(id_of("}"));
  EXPECT_TRUE(allows(mask, kStopId));
  EXPECT_FALSE(allows(mask, id_of("\n")));
}

TEST(Mask, FixedSets) {
  const auto mask = make_fixed_mask(4096, {3, 5}, {kStopId, -1, 99999});
  EXPECT_TRUE(allows(mask, 3));
  EXPECT_TRUE(allows(mask, kStopId));
  EXPECT_FALSE(allows(mask, 4));
}

TEST(Vocabulary, Tree) {
  const std::vector<std::string_view> tokens = {"ab", "", "a", "abc", "b", "ab"};
  const auto vocabulary = Vocabulary::make(tokens);
  EXPECT_EQ(vocabulary->nodes().size(), 5U);
  EXPECT_EQ(vocabulary->longest(), 3U);
  EXPECT_EQ(vocabulary->nodes()[0].end, 5U);
  EXPECT_EQ(vocabulary->nodes()[2].num_ids, 2U) << "two tokens of the same bytes";
}

}  // namespace
}  // namespace glimpse
