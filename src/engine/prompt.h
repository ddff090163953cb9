#pragma once

// A prompt as the model runs it: token ids with a position each, and which of them are rows of pictures.

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "model/mrope.h"

namespace glimpse {

struct Prompt {
  std::vector<int32_t> token_ids;   // image placeholders expanded: one id per image token
  std::vector<int32_t> image_rows;  // row of the image embeddings (images one behind the other, in order), or -1
  MropePositions positions;
  std::vector<GridThw> grids;

  int32_t num_tokens() const { return static_cast<int32_t>(token_ids.size()); }
};

// Errors: kInvalidArgument for an empty prompt, ids outside the vocabulary, or image tokens that are not those of the
// grids.
Result<Prompt> make_prompt(const ModelConfig& config, std::vector<int32_t> token_ids, std::vector<GridThw> grids);

}  // namespace glimpse
