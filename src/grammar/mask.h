#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "grammar/grammar_cache.h"
#include "grammar/vocabulary.h"
#include "sampling/token_mask.h"

namespace glimpse {

struct MaskOptions {
  std::vector<int32_t> stop_ids;     // allowed exactly where the text may end
  bool starts_in_reasoning = false;  // everything but stop tokens is allowed up to "</think>"
  bool may_think = false;            // the answer may begin with "<think>", then the same
  bool leading_newlines = false;     // newlines may precede the answer (templates end before one, or "</think>" does)
  int32_t think_id = -1;             // model ids; -1: the tokenizer has no such token, its bytes count
  int32_t end_think_id = -1;
};

// The tokens after which the text can still become one of the grammar's. Whatever is drawn, the text at a stop token
// is one of them (behind the reasoning). For one sequence; one thread at a time.
std::shared_ptr<TokenMask> make_mask(std::shared_ptr<const Vocabulary> vocabulary,
                                     std::shared_ptr<const Grammar> grammar, MaskOptions options);

// Only these tokens, and the stop tokens.
std::shared_ptr<TokenMask> make_fixed_mask(size_t vocab_size, const std::vector<int32_t>& allowed,
                                           const std::vector<int32_t>& stop_ids);

}  // namespace glimpse
