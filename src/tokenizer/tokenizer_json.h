#pragma once

// tokenizer.json (the `tokenizers` library's format) read into plain data. What it means is bpe.h's and tokenizer.h's.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/added_tokens.h"

namespace glimpse {

// Bounds on what a file may ask for. The largest published vocabularies have 256k tokens and 600k merges.
constexpr int64_t kMaxTokenId = (int64_t{1} << 22) - 2;
constexpr size_t kMaxMerges = (size_t{1} << 20) - 1;
constexpr size_t kMaxAddedTokens = 65536;
constexpr size_t kMaxTokenBytes = 65535;
constexpr size_t kMaxAddedTokenBytes = 1024;

struct TokenizerFile {
  struct VocabEntry {
    uint32_t begin;  // its bytes are vocab_bytes[begin, begin + length)
    uint32_t length;
    int32_t id;
  };
  struct Merge {
    uint32_t begin;  // left and right side, next to each other in merge_bytes from `begin`
    uint16_t left_length;
    uint16_t right_length;
  };

  // Raw bytes: the byte-level alphabet (GPT-2's bytes_to_unicode) is already undone.
  std::string vocab_bytes;
  std::vector<VocabEntry> vocab;
  std::string merge_bytes;
  std::vector<Merge> merges;
  bool ignore_merges = false;

  std::vector<AddedToken> added_tokens;
  bool nfc = false;                         // normalizer
  std::vector<std::string> split_patterns;  // pre-tokenizer, applied one after the other
};

// Reads a byte-level BPE tokenizer. Not used: "truncation", "padding" and "post_processor" (what it adds, the chat
// template writes itself). Errors, each naming the field: kInvalidData for what is malformed, out of range or listed
// twice; kUnsupported for other models, normalizers, pre-tokenizers and flags.
Result<TokenizerFile> parse_tokenizer_json(std::string_view text);

}  // namespace glimpse
