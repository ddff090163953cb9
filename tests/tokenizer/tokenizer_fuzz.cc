// libFuzzer entry. The input is a tokenizer.json up to the first byte 0xFF (which valid JSON cannot hold), then a text.
// The first byte of the text says how much of it is untrusted. An input that begins with 0xFF goes to a small built-in
// tokenizer, so that text is fuzzed without guessing a file first.

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "tokenizer/detokenizer.h"
#include "tokenizer/splitter.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/unicode.h"

namespace glimpse {
namespace {

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  return out;
}

std::string built_in_file() {
  std::string vocab;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    std::string spelled;
    append_utf8(spelled, static_cast<uint32_t>(printable ? byte : next++));
    vocab += "\"" + escaped(spelled) + "\":" + std::to_string(byte) + ",";
  }
  return R"({"model":{"type":"BPE","vocab":{)" + vocab +
         R"("ab":256,"abc":257,"aa":258},"merges":["a b","ab c","a a"],"ignore_merges":true},
         "added_tokens":[{"id":259,"content":"<x>","special":true},{"id":260,"content":"<y>","normalized":false}],
         "pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","behavior":"Isolated","pattern":{"Regex":")" +
         escaped(kGlmPattern) + R"("}},{"type":"ByteLevel","add_prefix_space":false,"use_regex":false}]},
         "decoder":{"type":"ByteLevel"}})";
}

// `lossless`: no normalizer, so the tokens' bytes are the text's.
void run(const Tokenizer& tokenizer, std::string_view text, bool lossless) {
  if (text.empty()) return;
  const size_t untrusted = static_cast<uint8_t>(text[0]) * text.size() / 256;
  const ByteRange range{text.size() - untrusted, text.size()};
  const auto ids = tokenizer.encode(text, {&range, 1});
  if (!ids) return;
  Detokenizer detokenizer(tokenizer, false);
  std::string streamed;
  std::string bytes;
  for (const int32_t id : *ids) {
    streamed += detokenizer.push(id);
    bytes += tokenizer.token_bytes(id);
  }
  streamed += detokenizer.finish();
  CHECK(streamed == tokenizer.decode(*ids));
  CHECK(!lossless || bytes == text);
}

}  // namespace
}  // namespace glimpse

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using glimpse::Tokenizer;
  static const Tokenizer built_in = *Tokenizer::parse(glimpse::built_in_file());
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t file_size = std::min(input.find('\xFF'), input.size());
  const std::string_view text = input.substr(std::min(file_size + 1, input.size()));
  if (file_size == 0) {
    glimpse::run(built_in, text, true);
  } else if (const auto tokenizer = Tokenizer::parse(input.substr(0, file_size))) {
    glimpse::run(*tokenizer, text, false);
  }
  return 0;
}
