#include "tokenizer/tokenizer_json.h"

#include <functional>

#include "tests/tokenizer/testing.h"

namespace glimpse {
namespace {

json::object valid_file() {
  json::object file = small_file({"ab", "abc"}, {"a b", "ab c"});
  file["added_tokens"] = list_of({added_token(258, "<x>"), added_token(259, "<y>", false)});
  return file;
}

TEST(TokenizerJson, ReadsBothSpellingsOfMerges) {
  json::object file = valid_file();
  ASSERT_TRUE(Tokenizer::parse(json::serialize(file)));
  file["model"].as_object()["merges"] = parsed(R"([["a", "b"], ["ab", "c"]])");
  const auto tokenizer = Tokenizer::parse(json::serialize(file));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("abcab<x>"), (Ids{257, 256, 258}));
  EXPECT_EQ(tokenizer->vocab_size(), 260);
}

TEST(TokenizerJson, EscapesInKeysAndMerges) {
  // The byte-level spelling of the quote and the backslash arrives in parts.
  json::object file = small_file({"\"\\", "\"\\\""}, {"\" \\", "\"\\ \""});
  const auto tokenizer = Tokenizer::parse(json::serialize(file));
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  EXPECT_EQ(*tokenizer->encode("\"\\\""), Ids{257});
}

struct BadFile {
  const char* named;  // what the message must contain
  std::function<void(json::object&)> change;
};

json::object& model(json::object& file) {
  return file["model"].as_object();
}

TEST(TokenizerJson, FaultsNameTheField) {
  const BadFile cases[] = {
      {"model", [](auto& f) { f.erase("model"); }},
      {"model", [](auto& f) { f["model"] = 3; }},
      {"model.vocab", [](auto& f) { model(f).erase("vocab"); }},
      {"model.vocab", [](auto& f) { model(f)["vocab"] = parsed("[1, 2]"); }},
      {"model.merges", [](auto& f) { model(f).erase("merges"); }},
      {"model.merges", [](auto& f) { model(f)["merges"] = "a b"; }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"(["ab"])"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"(["a b c"])"); }},
      {"model.merges[1]", [](auto& f) { model(f)["merges"] = parsed(R"(["a b", " c"])"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed("[7]"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"([["a"]])"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"([["a", "b", "c", "d"]])"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"([["a", []]])"); }},
      {"\"zz\" is not in model.vocab", [](auto& f) { model(f)["merges"] = parsed(R"(["z z"])"); }},
      {"\"qq\" is not in model.vocab", [](auto& f) { model(f)["merges"] = parsed(R"(["a qq"])"); }},
      {"model.merges[0]", [](auto& f) { model(f)["merges"] = parsed(R"(["你 好"])"); }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = "x"; }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = 1.5; }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = nullptr; }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = parsed("[1]"); }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = -1; }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = int64_t{1} << 31; }},
      {"model.vocab: the id of \"ab\"", [](auto& f) { model(f)["vocab"].as_object()["ab"] = UINT64_MAX; }},
      {"id 97 stands for both", [](auto& f) { model(f)["vocab"].as_object()["ab"] = 97; }},
      {"model.vocab: no token for byte 97", [](auto& f) { model(f)["vocab"].as_object().erase("a"); }},
      {"model.vocab: an empty token", [](auto& f) { model(f)["vocab"].as_object()[""] = 300; }},
      {"model.vocab: token \"你\"", [](auto& f) { model(f)["vocab"].as_object()["你"] = 300; }},
      {"model: type", [](auto& f) { model(f)["type"] = "Unigram"; }},
      {"model: dropout", [](auto& f) { model(f)["dropout"] = 0.1; }},
      {"model: byte_fallback", [](auto& f) { model(f)["byte_fallback"] = true; }},
      {"ignore_merges", [](auto& f) { model(f)["ignore_merges"] = 3; }},
      {"end_of_word_suffix", [](auto& f) { model(f)["end_of_word_suffix"] = "</w>"; }},
      {"added_tokens", [](auto& f) { f["added_tokens"] = 1; }},
      {"added_tokens[0]", [](auto& f) { f["added_tokens"] = parsed("[1]"); }},
      {"added_tokens[0]: content", [](auto& f) { f["added_tokens"] = list_of({added_token(300, "")}); }},
      {"added_tokens[0]: id", [](auto& f) { f["added_tokens"] = list_of({added_token(-4, "<z>")}); }},
      {"added_tokens[0]: id", [](auto& f) { f["added_tokens"] = list_of({added_token(int64_t{1} << 40, "<z>")}); }},
      {"added_tokens[0]: id 97", [](auto& f) { f["added_tokens"] = list_of({added_token(97, "<z>")}); }},
      {"added_tokens[2]: token \"<x>\" is listed twice",
       [](auto& f) { f["added_tokens"].as_array().push_back(added_token(300, "<x>")); }},
      {"added_tokens[2]: id 258", [](auto& f) { f["added_tokens"].as_array().push_back(added_token(258, "<z>")); }},
      {"lstrip", [](auto& f) { f["added_tokens"].as_array()[0].as_object()["lstrip"] = true; }},
      {"normalizer", [](auto& f) { f["normalizer"] = parsed(R"({"type": "Lowercase"})"); }},
      {"normalizer", [](auto& f) { f["normalizer"] = "NFC"; }},
      {"pre_tokenizer", [](auto& f) { f["pre_tokenizer"] = nullptr; }},
      {"pre_tokenizer", [](auto& f) { f["pre_tokenizer"] = parsed(R"({"type": "Whitespace"})"); }},
      {"pre_tokenizer: add_prefix_space", [](auto& f) { f["pre_tokenizer"].as_object()["add_prefix_space"] = true; }},
      {"pre_tokenizer: no ByteLevel",
       [](auto& f) { f["pre_tokenizer"] = parsed(R"({"type": "Sequence", "pretokenizers": []})"); }},
      {"pre_tokenizer: pattern",
       [](auto& f) {
         f["pre_tokenizer"] = parsed(R"({"type": "Sequence", "pretokenizers": [
             {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"},
             {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
       }},
      {"decoder", [](auto& f) { f.erase("decoder"); }},
      {"decoder", [](auto& f) { f["decoder"] = parsed(R"({"type": "WordPiece"})"); }},
  };
  for (const BadFile& bad : cases) {
    json::object file = valid_file();
    bad.change(file);
    const auto tokenizer = Tokenizer::parse(json::serialize(file));
    ASSERT_FALSE(tokenizer) << bad.named;
    EXPECT_NE(tokenizer.error().message.find(bad.named), std::string::npos)
        << "wanted: " << bad.named << "\nsaid:   " << tokenizer.error().message;
    EXPECT_EQ(tokenizer.error().message.find('\n'), std::string::npos);
    EXPECT_EQ(exit_code(tokenizer.error().code), 2);
  }
}

TEST(TokenizerJson, DuplicateKeysAreFound) {
  std::string text = json::serialize(valid_file());
  const size_t at = text.find("\"ab\":");
  text.insert(at, "\"ab\":300,");
  const auto tokenizer = Tokenizer::parse(text);
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("\"ab\" is listed twice"), std::string::npos) << tokenizer.error().message;
}

TEST(TokenizerJson, RefusesWhatIsNotJson) {
  for (const std::string text :
       {"", "{", "[]", "3", "{\"model\": NaN}", "{} {}", "\xFF", "{\"model\":{\"vocab\":{\"a\":NaN}}}"}) {
    const auto tokenizer = Tokenizer::parse(text);
    ASSERT_FALSE(tokenizer) << text;
    EXPECT_EQ(tokenizer.error().code, ErrorCode::kInvalidData);
  }
  EXPECT_FALSE(Tokenizer::parse(std::string(100'000, '[')));
}

// Every prefix and every flipped byte of a real file is either read or refused; the sanitizers watch.
TEST(TokenizerJson, DamagedFiles) {
  const std::string text = json::serialize(valid_file());
  for (size_t size = 0; size < text.size(); size += 1 + size / 40) EXPECT_FALSE(Tokenizer::parse(text.substr(0, size)));
  for (size_t at = 0; at < text.size(); at += 3) {
    std::string damaged = text;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x11);
    if (const auto tokenizer = Tokenizer::parse(damaged)) {
      EXPECT_TRUE(tokenizer->encode("abc <x> ab"));
    }
  }
}

TEST(TokenizerJson, MissingFile) {
  const auto tokenizer = Tokenizer::load("/no/such/tokenizer.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace glimpse
