#include "model/mrope.h"

#include <algorithm>

namespace glimpse {

Result<MropePositions> mrope_positions(std::span<const int32_t> token_ids, int32_t image_token_id,
                                       std::span<const GridThw> grids, int32_t spatial_merge_size) {
  MropePositions positions;
  for (auto& axis : positions.axes) axis.reserve(token_ids.size());
  const auto push = [&](int32_t t, int32_t h, int32_t w) {
    positions.axes[0].push_back(t);
    positions.axes[1].push_back(h);
    positions.axes[2].push_back(w);
  };
  int32_t p = 0;
  size_t image_idx = 0;
  for (size_t i = 0; i < token_ids.size();) {
    if (token_ids[i] != image_token_id) {
      push(p, p, p);
      ++p;
      ++i;
      continue;
    }
    if (image_idx == grids.size()) {
      return Error{ErrorCode::kInvalidArgument, "the prompt has image tokens for more than its " +
                                                    std::to_string(grids.size()) + " images (token " +
                                                    std::to_string(i) + ")"};
    }
    const GridThw& grid = grids[image_idx];
    const int64_t num_tokens = grid.num_tokens(spatial_merge_size);
    int64_t run = 0;
    while (i + static_cast<size_t>(run) < token_ids.size() && run < num_tokens &&
           token_ids[i + static_cast<size_t>(run)] == image_token_id) {
      ++run;
    }
    if (run != num_tokens || num_tokens == 0) {
      return Error{ErrorCode::kInvalidArgument, "image " + std::to_string(image_idx) + " needs " +
                                                    std::to_string(num_tokens) + " image tokens, the prompt has " +
                                                    std::to_string(run)};
    }
    const int32_t rows = grid.h / spatial_merge_size;
    const int32_t cols = grid.w / spatial_merge_size;
    // A frame of a video is a run of its own, so t advances by frames only through p.
    for (int32_t t = 0; t < grid.t; ++t) {
      for (int32_t r = 0; r < rows; ++r) {
        for (int32_t c = 0; c < cols; ++c) push(p, p + r, p + c);
      }
      p += std::max(rows, cols);
    }
    i += static_cast<size_t>(num_tokens);
    ++image_idx;
  }
  if (image_idx != grids.size()) {
    return Error{ErrorCode::kInvalidArgument, "the prompt has image tokens for " + std::to_string(image_idx) +
                                                  " of its " + std::to_string(grids.size()) + " images"};
  }
  positions.delta = p - static_cast<int32_t>(token_ids.size());
  return positions;
}

}  // namespace glimpse
