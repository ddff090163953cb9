#pragma once

// Image placeholders in a tokenised prompt (Glm4vProcessor's expansion; glm-v.md §5.1).

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace glimpse {

// Tokens that a picture of [grid_t, grid_h, grid_w] patches takes: t·h·w / merge². Errors: kInvalidArgument if a side
// is not positive, h or w is not a multiple of the merge size, or the product does not fit 31 bits.
Result<int64_t> image_token_count(int64_t grid_t, int64_t grid_h, int64_t grid_w, int64_t spatial_merge_size);

struct ImageSpan {
  size_t begin = 0;  // position of the picture's first token
  size_t count = 0;

  bool operator==(const ImageSpan&) const = default;
};

struct ExpandedPrompt {
  std::vector<int32_t> ids;
  std::vector<ImageSpan> images;  // in order of the conversation, one per picture
};

// Each image token of ids, once, becomes image_tokens[i] of them, i counting the placeholders. ids come from the
// tokenizer, which makes an image token of trusted text only, so a user's "<|image|>" is none. Errors: kInvalidArgument
// if there are not as many placeholders as pictures, with both numbers; kTooLarge if the prompt grows over max_tokens.
Result<ExpandedPrompt> expand_images(std::span<const int32_t> ids, int32_t image_token_id,
                                     std::span<const int64_t> image_tokens, size_t max_tokens);

}  // namespace glimpse
