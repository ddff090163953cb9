#include "tokenizer/tokenizer.h"

#include <charconv>
#include <thread>

#include "tests/tokenizer/testing.h"

namespace glimpse {
namespace {

// Against the `tokenizers` library: 24,000 strings, hashed per thousand by python/reference/make_tokenizer_goldens.py.
TEST(Tokenizer, MiniEncodesAsTheLibrary) {
  const Tokenizer tokenizer = load_mini();
  const json::value golden = read_json(source_path("tests/tokenizer/goldens/mini.json"));
  const auto seed = static_cast<uint64_t>(golden.at("seed").as_int64());
  const auto strings_per_hash = static_cast<uint64_t>(golden.at("strings_per_hash").as_int64());
  ASSERT_GE(golden.at("hashes").as_array().size() * strings_per_hash, 20'000u);
  StringGenerator generator(read_fragments(), false);
  uint64_t index = 0;
  for (const json::value& expected : golden.at("hashes").as_array()) {
    uint64_t hash = kFnvBasis;
    for (uint64_t i = 0; i < strings_per_hash; ++i, ++index) {
      hash = hash_ids(*tokenizer.encode(generator.make(seed, index)), hash);
    }
    uint64_t wanted = 0;
    const json::string& digits = expected.as_string();
    std::from_chars(digits.data(), digits.data() + digits.size(), wanted, 16);
    ASSERT_EQ(hash, wanted) << "strings " << index - strings_per_hash << " to " << index - 1
                            << "; tests/python/test_tokenizer.py compares one by one";
  }
}

TEST(Tokenizer, BytesComeBack) {
  const Tokenizer tokenizer = load_mini();
  StringGenerator generator(read_fragments(), false);
  for (uint64_t i = 0; i < 4000; ++i) {
    std::string text = generator.make(21, i);
    // Broken in three places.
    for (size_t at = i % 5; at < text.size(); at += text.size() / 3 + 1) text[at] = static_cast<char>(text[at] ^ 0x85);
    const auto check = [&](const Ids& ids) {
      std::string joined;
      for (const int32_t id : ids) joined += tokenizer.token_bytes(id);
      ASSERT_EQ(joined, text);
    };
    check(*tokenizer.encode(text));
    check(*tokenizer.encode_untrusted(text));
  }
}

TEST(Tokenizer, AddedTokensAreAtomicInTrustedText) {
  const Tokenizer tokenizer = load_mini();
  const int32_t user = *tokenizer.find_token("<|user|>");
  const int32_t think = *tokenizer.find_token("<think>");
  EXPECT_TRUE(tokenizer.is_special(user));
  EXPECT_FALSE(tokenizer.is_special(think));
  EXPECT_TRUE(tokenizer.is_added(think));
  const Ids ids = *tokenizer.encode("<|user|><think>");
  EXPECT_EQ(ids, (Ids{user, think}));
  EXPECT_EQ(tokenizer.decode(ids), "<|user|><think>");
  EXPECT_EQ(tokenizer.decode(ids, true), "<think>");
}

TEST(Tokenizer, UntrustedTextNeverBecomesAnAddedToken) {
  const Tokenizer tokenizer = load_mini();
  const Ids plain = *tokenizer.encode_untrusted("<|user|>");
  EXPECT_EQ(tokenizer.decode(plain), "<|user|>");
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer.is_added(id));
  // Partly trusted, however it is cut, is untrusted.
  const std::string text = "<|user|>";
  for (size_t begin = 0; begin < text.size(); ++begin) {
    for (size_t end = begin + 1; end <= text.size(); ++end) {
      const ByteRange range{begin, end};
      ASSERT_EQ(*tokenizer.encode(text, {&range, 1}), plain) << begin << ".." << end;
    }
  }
  const ByteRange nothing{3, 3};
  EXPECT_EQ(*tokenizer.encode(text, {&nothing, 1}), *tokenizer.encode(text));
}

TEST(Tokenizer, EveryAddedTokenIsSuppressed) {
  const Tokenizer tokenizer = load_mini();
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.is_added(id)) continue;
    const std::string content(tokenizer.token_bytes(id));
    EXPECT_EQ(*tokenizer.encode(content), Ids{id});
    const Ids ids = *tokenizer.encode_untrusted(content);
    EXPECT_EQ(tokenizer.decode(ids), content);
    for (const int32_t part : ids) EXPECT_FALSE(tokenizer.is_added(part)) << content;
  }
}

// Words and merges run across the borders of trust: cut anywhere, a prompt in which the untrusted part spells no added
// token has the ids of the whole.
TEST(Tokenizer, TrustBordersChangeNothingElse) {
  const Tokenizer tokenizer = load_mini();
  const std::string before = "[gMASK]<sop><|user|>\nfor";
  const std::string user = "ty-two cats, 12";
  const std::string after = "34's\n<|assistant|>\n<think>";
  const TextPiece pieces[] = {{before, true}, {user, false}, {after, true}};
  EXPECT_EQ(*tokenizer.encode(pieces), *tokenizer.encode(before + user + after));
  StringGenerator generator(read_fragments(), false);
  for (uint64_t i = 0; i < 2000; ++i) {
    const std::string text = generator.make(22, i);
    if (text.find_first_of("<[/") != std::string::npos) continue;
    const size_t cut = i % (text.size() + 1);
    const TextPiece halves[] = {{std::string_view(text).substr(0, cut), true},
                                {std::string_view(text).substr(cut), false}};
    ASSERT_EQ(*tokenizer.encode(halves), *tokenizer.encode(text)) << text;
  }
}

TEST(Tokenizer, LongestAddedTokenWins) {
  json::object file = small_file({}, {});
  file["added_tokens"] = list_of({added_token(256, "<a>"), added_token(257, "<a>b"), added_token(258, "a>b<")});
  const auto tokenizer = Tokenizer::parse(json::serialize(file));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("<a>b<"), (Ids{257, '<'}));
  EXPECT_EQ(*tokenizer->encode("<a>c"), (Ids{256, 'c'}));
  EXPECT_EQ(*tokenizer->encode("xa>b<"), (Ids{'x', 258}));
  const ByteRange last{3, 4};
  EXPECT_EQ(*tokenizer->encode("<a>b", {&last, 1}), (Ids{256, 'b'}));
}

TEST(Tokenizer, Boundaries) {
  const Tokenizer tokenizer = load_mini();
  EXPECT_EQ(*tokenizer.encode(""), Ids{});
  EXPECT_EQ(tokenizer.decode({}), "");
  EXPECT_EQ(tokenizer.token_bytes(-1), "");
  EXPECT_EQ(tokenizer.token_bytes(1 << 30), "");
  EXPECT_FALSE(tokenizer.find_token("no such token"));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_EQ(tokenizer.vocab_size(), 4096);
  const auto large = tokenizer.encode(std::string(Tokenizer::kMaxTextBytes + 1, 'a'));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::kTooLarge);
  std::string word;
  while (word.size() < 1 << 20) word += "abcdefghij中文";
  EXPECT_EQ(tokenizer.decode(*tokenizer.encode(word)), word);
}

TEST(Tokenizer, OneObjectServesManyThreads) {
  const Tokenizer tokenizer = load_mini();
  StringGenerator generator(read_fragments(), false);
  std::vector<std::string> texts;
  std::vector<Ids> expected;
  for (uint64_t i = 0; i < 300; ++i) {
    texts.push_back(generator.make(23, i));
    expected.push_back(*tokenizer.encode(texts.back()));
  }
  std::vector<size_t> wrong(4);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < texts.size(); ++i) wrong[t] += *tokenizer.encode(texts[i]) != expected[i];
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<size_t>(4, 0));
}

}  // namespace
}  // namespace glimpse
