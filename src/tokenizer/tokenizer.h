#pragma once

// Text to token ids and back, as a checkpoint's tokenizer.json says: byte-level BPE, equal to the `tokenizers` library
// with add_special_tokens=False.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_range.h"
#include "base/result.h"

namespace glimpse {

// A stretch of text and whether the added tokens spelled in it count as such.
struct TextPiece {
  std::string_view text;
  bool trusted = false;
};

// Added tokens (`<|user|>`, `<think>`, ...) are recognised in *trusted* text only, that is in what a chat template
// wrote. In untrusted text, what users and tools wrote, no added token is ever recognised, special or not: its spelling
// is encoded as ordinary text, by other ids. A spelling that is only partly trusted is ordinary text too. Nothing else
// depends on trust: words and merges run across its borders, so a prompt in which no untrusted part spells an added
// token has the same ids as the whole string encoded at once.
//
// Text may be broken UTF-8: its bytes are encoded as they are, so decoding gives them back.
//
// Immutable after parse(); all methods may be called from many threads at once. Move-only.
class Tokenizer {
 public:
  // Errors: kInvalidData, kUnsupported or kTooLarge naming the field.
  static Result<Tokenizer> parse(std::string_view tokenizer_json);
  // Errors: also kNotFound; each naming the path.
  static Result<Tokenizer> load(const std::string& path);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // The ids of `text`, all of it trusted but `untrusted`: ascending ranges within it that do not overlap (CHECK).
  // Errors: kTooLarge for more than kMaxTextBytes; kInvalidArgument where an unusual pre-tokenizer pattern exceeds its
  // step limit on this text (the GLM family's cannot).
  Result<std::vector<int32_t>> encode(std::string_view text, std::span<const ByteRange> untrusted = {}) const;
  // The same for the pieces' concatenation.
  Result<std::vector<int32_t>> encode(std::span<const TextPiece> pieces) const;
  // The ids that encode(text + more) begins with, whatever untrusted text `more` is: those of all words but what the
  // text's end can still change. Errors: as encode.
  Result<std::vector<int32_t>> encode_stable(std::string_view text, std::span<const ByteRange> untrusted = {}) const;
  // All of `text` untrusted.
  Result<std::vector<int32_t>> encode_untrusted(std::string_view text) const;

  static constexpr size_t kMaxTextBytes = size_t{16} << 20;

  // The tokens' bytes joined, broken UTF-8 replaced by U+FFFD as in Python's errors="replace". Ids without a token add
  // nothing (models have more logits than tokens); with `skip_special`, special tokens neither.
  std::string decode(std::span<const int32_t> ids, bool skip_special = false) const;

  // The bytes that a token stands for, often no whole characters; empty for an id without a token. Valid as long as
  // the tokenizer.
  std::string_view token_bytes(int32_t id) const;
  // The token that stands for exactly these bytes ("<|user|>", "\n"), added or not.
  std::optional<int32_t> find_token(std::string_view bytes) const;
  // Added tokens flagged special. `<think>` and its like are added but not special: they are part of the text.
  bool is_special(int32_t id) const;
  bool is_added(int32_t id) const;
  // One past the largest id that has a token; checkpoints may have more logits than that.
  int32_t vocab_size() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace glimpse
