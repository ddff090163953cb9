#pragma once

// Multimodal rotary positions (glm-v.md 5.2). Pure functions on integers.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace glimpse {

// One image's grid in patches, as transformers' image_grid_thw.
struct GridThw {
  int32_t t = 1;
  int32_t h = 0;
  int32_t w = 0;

  int64_t num_patches() const { return int64_t{t} * h * w; }
  int64_t num_tokens(int32_t spatial_merge_size) const {
    return num_patches() / (int64_t{spatial_merge_size} * spatial_merge_size);
  }
  bool operator==(const GridThw&) const = default;
};

struct MropePositions {
  std::array<std::vector<int32_t>, 3> axes;  // t, h, w: one position per token
  int32_t delta = 0;                         // a token decoded at index k has position k + delta on all axes
};

// Positions of a whole prompt. Every run of image tokens is the next image of `grids`: text runs count up on all axes;
// token (r, c) of an image's merged grid has (p, p + r, p + c); then p goes on behind the largest.
// Errors: kInvalidArgument when the image tokens are not exactly those of the grids, with both numbers.
Result<MropePositions> mrope_positions(std::span<const int32_t> token_ids, int32_t image_token_id,
                                       std::span<const GridThw> grids, int32_t spatial_merge_size);

}  // namespace glimpse
