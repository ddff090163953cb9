#pragma once

// Byte-pair encoding: the vocabulary, the merges, and the work of turning one word into tokens.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tokenizer/tokenizer_json.h"

namespace glimpse {

// What an encoding thread needs besides the tables: buffers that keep their capacity, and recently seen words.
struct BpeScratch {
  // A short word and its tokens, in one cache line. Direct-mapped: a word that hashes to a taken place takes it over,
  // so memory is bounded and a hostile text only makes it useless.
  struct alignas(64) CachedWord {
    std::array<uint64_t, 4> key;  // the word padded with zeros, its length in the top byte
    uint32_t num_ids;             // 0: empty place
    std::array<int32_t, 7> ids;
  };
  static constexpr size_t kCachedWordBytes = 31;
  static constexpr size_t kCachedWords = 8192;  // 512 KB

  std::vector<CachedWord> cache;
  std::vector<int32_t> ids;     // the symbols of the word being merged
  std::vector<uint32_t> ranks;  // ranks[i]: of merging ids[i] with the symbol after it
  std::vector<uint32_t> next;
  std::vector<uint32_t> previous;
  std::vector<uint64_t> heap;
};

// Immutable after make(); one object may serve many threads, each with its own BpeScratch.
class Bpe {
 public:
  // Takes the vocabulary, merges and added tokens of `file`. Errors: kInvalidData for ids or tokens listed twice (also
  // between vocabulary and added tokens), merges naming unknown tokens, and bytes without a token.
  static Result<Bpe> make(TokenizerFile&& file);

  // Appends the tokens of one pre-token. Lowest merge rank first, leftmost on ties, as in the `tokenizers` library;
  // with ignore_merges, a word that is a token is that token. Never yields an added token's id (unless that token is a
  // single byte). Cost: O(n log n) for n bytes.
  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;

  // One past the largest id.
  int32_t vocab_size() const { return static_cast<int32_t>(tokens_.size()); }
  bool has_token(int32_t id) const { return id >= 0 && id < vocab_size() && tokens_[id].kind != Kind::kNone; }
  bool is_added(int32_t id) const { return has_token(id) && tokens_[id].kind >= Kind::kAdded; }
  bool is_special(int32_t id) const { return has_token(id) && tokens_[id].kind == Kind::kSpecial; }
  // Empty for an id without a token.
  std::string_view token_bytes(int32_t id) const;
  // The id of the vocabulary's or added token with these bytes, -1 if there is none.
  int32_t find_token(std::string_view bytes) const;

 private:
  enum class Kind : uint8_t { kNone, kVocab, kAdded, kSpecial };
  struct Token {
    uint32_t begin = 0;
    uint32_t length : 24 = 0;
    Kind kind : 8 = Kind::kNone;
  };
  struct Slot {
    uint32_t hash;
    int32_t id;  // -1: empty
  };

  static constexpr uint32_t kNoRank = 0xFFFFFFFF;
  static constexpr uint64_t kEmptyPair = ~uint64_t{0};

  Status add_token(std::string_view bytes, uint32_t begin, int32_t id, Kind kind);
  Status add_vocab(const TokenizerFile& file);
  Status add_added_tokens(const TokenizerFile& file);
  Status add_merges(const TokenizerFile& file, std::vector<std::pair<int32_t, int32_t>>& sides);
  void add_whole_chars(const TokenizerFile& file, const std::vector<std::pair<int32_t, int32_t>>& sides);
  void add_pair(uint32_t left, uint32_t right, uint32_t rank);
  const Slot* find_slot(std::string_view bytes, uint64_t hash) const;
  int32_t find_word(std::string_view word, uint64_t hash) const;
  uint32_t pair_rank(int32_t left, int32_t right) const;
  uint32_t byte_pair_rank(uint8_t left, uint8_t right) const { return byte_pair_ranks_[left * 256 + right]; }
  void merge(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  size_t start_symbols(std::string_view word, BpeScratch& scratch) const;
  void merge_short(size_t size, BpeScratch& scratch) const;
  void merge_long(size_t size, BpeScratch& scratch) const;

  std::string bytes_;          // of all tokens
  std::vector<Token> tokens_;  // by id
  std::vector<Slot> slots_;    // open addressing over the tokens' bytes; a power of two
  std::array<int32_t, 256> byte_ids_{};
  std::vector<uint32_t> byte_pair_ranks_;  // [256 * 256] ranks of the merges of two bytes: the first look-ups of a word
  std::vector<uint64_t> pairs_;            // open addressing: left << 42 | right << 20 | rank; a power of two
  int pair_shift_ = 0;
  // A bit per hash of a pair that merges, eight to sixteen times as many bits as pairs: most pairs looked up do not
  // merge, and this answers so from a table that stays in the second-level cache (512 KB for the published models).
  std::vector<uint64_t> pair_filter_;
  int filter_shift_ = 0;
  std::vector<int32_t> merged_;       // by rank
  std::vector<int32_t> whole_chars_;  // [65536 or 0] by code point: see add_whole_chars
  bool ignore_merges_ = false;
};

}  // namespace glimpse
