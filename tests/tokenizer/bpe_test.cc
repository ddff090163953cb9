#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/tokenizer/testing.h"
#include "tokenizer/tokenizer_json.h"

namespace glimpse {
namespace {

// The definition, without cleverness: merge the leftmost pair of lowest rank until none has a rank.
class NaiveBpe {
 public:
  explicit NaiveBpe(const TokenizerFile& file) {
    for (const auto& entry : file.vocab) ids_[file.vocab_bytes.substr(entry.begin, entry.length)] = entry.id;
    for (size_t rank = 0; rank < file.merges.size(); ++rank) {
      const auto& merge = file.merges[rank];
      ranks_[{file.merge_bytes.substr(merge.begin, merge.left_length),
              file.merge_bytes.substr(merge.begin + merge.left_length, merge.right_length)}] = rank;
    }
  }

  Ids encode(std::string_view word) const {
    std::vector<std::string> symbols;
    for (const char c : word) symbols.emplace_back(1, c);
    while (true) {
      size_t best = ranks_.size();
      size_t at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find({symbols[i], symbols[i + 1]});
        if (found == ranks_.end() || found->second >= best) continue;
        best = found->second;
        at = i;
      }
      if (best == ranks_.size()) break;
      symbols[at] += symbols[at + 1];
      symbols.erase(symbols.begin() + static_cast<ptrdiff_t>(at) + 1);
    }
    Ids ids;
    for (const std::string& symbol : symbols) ids.push_back(ids_.at(symbol));
    return ids;
  }

 private:
  std::map<std::string, int32_t> ids_;
  std::map<std::pair<std::string, std::string>, size_t> ranks_;
};

Ids encode_word(const Bpe& bpe, std::string_view word, BpeScratch& scratch) {
  Ids ids;
  bpe.encode_word(word, scratch, ids);
  return ids;
}

// Words of 1 to 400 bytes: both sides of the cache's 31 and of the 128 where the heap takes over.
TEST(Bpe, EqualsTheDefinition) {
  const auto text = read_file(mini_path(), 1 << 20);
  ASSERT_TRUE(text);
  auto file = parse_tokenizer_json(*text);
  ASSERT_TRUE(file);
  const NaiveBpe naive(*file);
  const auto bpe = Bpe::make(*std::move(file));
  ASSERT_TRUE(bpe);
  StringGenerator generator(read_fragments(), false);
  BpeScratch scratch;
  for (uint64_t i = 0; i < 1500; ++i) {
    std::string word = generator.make(12, i);
    for (uint64_t j = 0; j < i % 4; ++j) word += generator.make(13, 4 * i + j);
    for (const size_t length : {size_t{1}, size_t{2}, size_t{31}, size_t{32}, size_t{128}, size_t{129}, size_t{400}}) {
      const std::string_view part = std::string_view(word).substr(0, length);
      const Ids expected = naive.encode(part);
      ASSERT_EQ(encode_word(*bpe, part, scratch), expected) << part;
      ASSERT_EQ(encode_word(*bpe, part, scratch), expected) << "remembered: " << part;
    }
  }
}

Result<Bpe> make(const json::object& object) {
  ASSIGN_OR_RETURN(TokenizerFile file, parse_tokenizer_json(json::serialize(object)));
  return Bpe::make(std::move(file));
}

TEST(Bpe, IgnoreMergesTakesAWholeWord) {
  json::object file = small_file({"ab", "abc", "xyz"}, {"a b"});
  BpeScratch scratch;
  const auto plain = make(file);
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ(encode_word(*plain, "abc", scratch), (Ids{256, 'c'}));
  EXPECT_EQ(encode_word(*plain, "xyz", scratch), (Ids{'x', 'y', 'z'}));
  file["model"].as_object()["ignore_merges"] = true;
  const auto direct = make(file);
  BpeScratch fresh;
  EXPECT_EQ(encode_word(*direct, "abc", fresh), (Ids{257}));
  EXPECT_EQ(encode_word(*direct, "xyz", fresh), (Ids{258}));
  EXPECT_EQ(encode_word(*direct, "abcx", fresh), (Ids{256, 'c', 'x'}));
}

TEST(Bpe, NeverMakesAnAddedToken) {
  json::object file = small_file({"ab", "abc"}, {"a b", "ab c"});
  file["added_tokens"] = list_of({added_token(257, "abc")});
  for (const bool ignore_merges : {false, true}) {
    file["model"].as_object()["ignore_merges"] = ignore_merges;
    const auto bpe = make(file);
    ASSERT_TRUE(bpe) << bpe.error().message;
    BpeScratch scratch;
    EXPECT_EQ(encode_word(*bpe, "abc", scratch), (Ids{256, 'c'}));
    EXPECT_TRUE(bpe->is_special(257));
  }
}

TEST(Bpe, ALaterMergeOfThePairWins) {
  // With the first rank, "ab" would come before "bc".
  const auto bpe = make(small_file({"ab", "bc"}, {"a b", "b c", "a b"}));
  ASSERT_TRUE(bpe);
  BpeScratch scratch;
  EXPECT_EQ(encode_word(*bpe, "abc", scratch), (Ids{'a', 257}));
}

TEST(Bpe, OneWordOfAMegabyte) {
  const auto bpe = make(small_file({"aa", "aaaa", "aaaaaaaa", "ba"}, {"a a", "aa aa", "aaaa aaaa", "b a"}));
  BpeScratch scratch;
  const Ids ids = encode_word(*bpe, std::string(1 << 20, 'a'), scratch);
  EXPECT_EQ(ids, Ids((1 << 20) / 8, 258));
  std::string mixed;
  while (mixed.size() < 1 << 20) mixed += "ba";
  EXPECT_EQ(encode_word(*bpe, mixed, scratch), Ids(mixed.size() / 2, 259));
}

}  // namespace
}  // namespace glimpse
