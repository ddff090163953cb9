#include "tokenizer/detokenizer.h"

#include "tokenizer/unicode.h"

namespace glimpse {

std::string_view Detokenizer::push(int32_t id) {
  text_.clear();
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->token_bytes(id);
  pending_.erase(0, append_lossy_utf8(text_, pending_, false));
  return text_;
}

std::string_view Detokenizer::finish() {
  text_.clear();
  append_lossy_utf8(text_, pending_, true);
  pending_.clear();
  return text_;
}

}  // namespace glimpse
