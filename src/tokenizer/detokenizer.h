#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tokenizer/tokenizer.h"

namespace glimpse {

// Tokens to text as they come. What push() and finish() return, joined, is Tokenizer::decode of all the ids; no part of
// it ends within a character, because up to three bytes of an unfinished one are held back.
// Borrows the tokenizer. After the first few calls nothing is allocated.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer, bool skip_special = true)
      : tokenizer_(&tokenizer), skip_special_(skip_special) {
    text_.reserve(256);
    pending_.reserve(256);
  }

  // The text that became certain with this token, maybe none. Valid until the next call.
  std::string_view push(int32_t id);
  // What is still held back, which now is a broken character: one U+FFFD or nothing. Then the object is as new.
  std::string_view finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string pending_;  // at most 3 bytes between calls
  std::string text_;
};

}  // namespace glimpse
