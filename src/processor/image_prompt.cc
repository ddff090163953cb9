#include "processor/image_prompt.h"

#include <algorithm>
#include <string>

namespace glimpse {

Result<int64_t> image_token_count(int64_t grid_t, int64_t grid_h, int64_t grid_w, int64_t spatial_merge_size) {
  constexpr int64_t kMaxSide = 1 << 20;
  const std::string shown = "image grid [" + std::to_string(grid_t) + ", " + std::to_string(grid_h) + ", " +
                            std::to_string(grid_w) + "] with merge size " + std::to_string(spatial_merge_size);
  for (const int64_t side : {grid_t, grid_h, grid_w, spatial_merge_size}) {
    if (side < 1 || side > kMaxSide) return Error{ErrorCode::kInvalidArgument, shown + " is out of range"};
  }
  if (grid_h % spatial_merge_size != 0 || grid_w % spatial_merge_size != 0) {
    return Error{ErrorCode::kInvalidArgument, shown + " does not divide"};
  }
  const int64_t per_frame = (grid_h / spatial_merge_size) * (grid_w / spatial_merge_size);
  if (per_frame > INT32_MAX / grid_t) return Error{ErrorCode::kInvalidArgument, shown + " is out of range"};
  return grid_t * per_frame;
}

Result<ExpandedPrompt> expand_images(std::span<const int32_t> ids, int32_t image_token_id,
                                     std::span<const int64_t> image_tokens, size_t max_tokens) {
  const auto placeholders = static_cast<size_t>(std::count(ids.begin(), ids.end(), image_token_id));
  if (placeholders != image_tokens.size()) {
    return Error{ErrorCode::kInvalidArgument, "the prompt has " + std::to_string(placeholders) +
                                                  " image placeholders for " + std::to_string(image_tokens.size()) +
                                                  " images"};
  }
  size_t total = ids.size() - placeholders;
  for (const int64_t count : image_tokens) {
    if (count < 1) return Error{ErrorCode::kInvalidArgument, "an image of " + std::to_string(count) + " tokens"};
    if (total > max_tokens || static_cast<size_t>(count) > max_tokens - total) {
      return Error{ErrorCode::kTooLarge,
                   "the prompt with its images is longer than " + std::to_string(max_tokens) + " tokens"};
    }
    total += static_cast<size_t>(count);
  }
  if (total > max_tokens) {
    return Error{ErrorCode::kTooLarge,
                 "the prompt of " + std::to_string(total) + " tokens is longer than " + std::to_string(max_tokens)};
  }
  ExpandedPrompt expanded;
  expanded.ids.reserve(total);
  expanded.images.reserve(placeholders);
  for (const int32_t id : ids) {
    if (id != image_token_id) {
      expanded.ids.push_back(id);
      continue;
    }
    const auto count = static_cast<size_t>(image_tokens[expanded.images.size()]);
    expanded.images.push_back({expanded.ids.size(), count});
    expanded.ids.insert(expanded.ids.end(), count, image_token_id);
  }
  return expanded;
}

}  // namespace glimpse
