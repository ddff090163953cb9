#include "tokenizer/bpe.h"

#include <gtest/gtest.h>

#include <algorithm>
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
      size_t best = SIZE_MAX;
      size_t at = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto found = ranks_.find({symbols[i], symbols[i + 1]});
        if (found == ranks_.end() || found->second >= best) continue;
        best = found->second;
        at = i;
      }
      if (best == SIZE_MAX) break;
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

// Small tables over three characters' bytes, their merges in any order, so that everything that may or may not happen
// before a character is whole happens in some of them; against the definition, on valid and broken text.
TEST(Bpe, WholeCharactersChangeNothing) {
  uint64_t state = 1;
  const auto draw = [&state](uint64_t below) {
    state = state * 6364136223846793005 + 1442695040888963407;
    return (state >> 33) % below;
  };
  const std::string_view text_of_all = "你佡丽 a你";
  size_t num_tables = 0;
  for (int round = 0; round < 2000; ++round) {
    TokenizerFile file;
    std::vector<std::string> tokens;
    const auto add = [&](const std::string& token) {
      if (std::find(tokens.begin(), tokens.end(), token) != tokens.end()) return;
      file.vocab.push_back({static_cast<uint32_t>(file.vocab_bytes.size()), static_cast<uint32_t>(token.size()),
                            static_cast<int32_t>(tokens.size())});
      file.vocab_bytes += token;
      tokens.push_back(token);
    };
    for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
    // Merges of what appears in the text; those that make each character; and those of whole characters.
    std::vector<std::pair<std::string, std::string>> merges;
    for (uint64_t i = draw(12); i > 0; --i) {
      const std::string both(text_of_all.substr(draw(text_of_all.size() - 2), 2 + draw(5)));
      const size_t cut = 1 + draw(both.size() - 1);
      merges.emplace_back(both.substr(0, cut), both.substr(cut));
    }
    const std::vector<std::string> chars = {"你", "佡", "丽", "a", " "};
    for (size_t i = 0; i < 3 && draw(4) != 0; ++i) {
      const size_t cut = 1 + draw(2);
      merges.emplace_back(chars[i].substr(0, cut), chars[i].substr(cut));
      const size_t part = cut == 1 ? 1 : 0;  // the side of two bytes
      merges.emplace_back(chars[i].substr(part, 1), chars[i].substr(part + 1, 1));
    }
    for (uint64_t i = draw(8); i > 0; --i) merges.emplace_back(chars[draw(5)], chars[draw(5)]);
    for (size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[draw(i)]);
    for (const auto& [left, right] : merges) {
      add(left);
      add(right);
      add(left + right);
      file.merges.push_back({static_cast<uint32_t>(file.merge_bytes.size()), static_cast<uint16_t>(left.size()),
                             static_cast<uint16_t>(right.size())});
      file.merge_bytes += left + right;
    }
    const NaiveBpe naive(file);
    const auto bpe = Bpe::make(std::move(file));
    ASSERT_TRUE(bpe) << bpe.error().message;
    ++num_tables;
    BpeScratch scratch;
    for (int i = 0; i < 20; ++i) {
      std::string word;
      for (uint64_t parts = 1 + draw(6); parts > 0; --parts) {
        const size_t begin = draw(3) == 0 ? draw(text_of_all.size()) : draw(3) * 3;
        word += text_of_all.substr(begin, draw(4) == 0 ? 1 + draw(5) : 3);
      }
      ASSERT_EQ(encode_word(*bpe, word, scratch), naive.encode(word)) << "round " << round << ": " << word;
    }
  }
  EXPECT_EQ(num_tables, 2000u);
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
