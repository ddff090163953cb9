#pragma once

// What one step runs: for every sequence the tokens whose KV is to be computed now. Gathered anew for each step; the
// state that lives across steps is the sequence's (sequence.h).

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace glimpse {

struct BatchEntry {
  std::span<const int32_t> token_ids;                 // of this step; -1 - slot: the last id sampled in that slot
  std::span<const int32_t> image_rows;                // as token_ids: row of the image embeddings, or -1; may be empty
  std::array<std::span<const int32_t>, 3> positions;  // t, h, w of each token
  int32_t num_computed = 0;                           // tokens of the sequence that are in the cache already
  std::span<const int32_t> block_ids;                 // the sequence's blocks, enough for num_computed + token_ids
  bool wants_logits = false;                          // of the last token
  int32_t slot = -1;                                  // of the sampler that draws from them; -1: nobody draws
};

struct Batch {
  std::vector<BatchEntry> entries;
};

}  // namespace glimpse
