#include "engine/active_request.h"

#include <algorithm>
#include <random>

namespace glimpse {

namespace {

Error invalid(std::string message) {
  return {ErrorCode::kInvalidArgument, std::move(message)};
}

// Where the pictures' tokens are. Errors: kInvalidArgument when they are not those of the request's pictures.
Status find_images(const EngineRequest& request, int32_t spatial_merge_size, ActiveRequest& active) {
  const Prompt& prompt = request.prompt;
  if (request.images.size() != prompt.grids.size()) {
    return invalid("the prompt has " + std::to_string(prompt.grids.size()) + " pictures, the request " +
                   std::to_string(request.images.size()));
  }
  int32_t row = 0;
  size_t at = 0;
  for (size_t i = 0; i < prompt.grids.size(); ++i) {
    const ImageRef& image = request.images[i];
    if (image == nullptr || image->grid() != prompt.grids[i]) {
      return invalid("picture " + std::to_string(i) + " of the request is not the prompt's");
    }
    const auto tokens = static_cast<size_t>(image->grid().num_tokens(spatial_merge_size));
    while (at < prompt.image_rows.size() && prompt.image_rows[at] < 0) ++at;
    for (size_t k = 0; k < tokens; ++k) {
      if (at + k >= prompt.image_rows.size() || prompt.image_rows[at + k] != row + static_cast<int32_t>(k)) {
        return invalid("the tokens of picture " + std::to_string(i) + " are not in one piece");
      }
    }
    active.images.push_back({.begin = static_cast<int32_t>(at),
                             .end = static_cast<int32_t>(at + tokens),
                             .key = image->key(),
                             .grid = image->grid()});
    active.pictures.push_back(std::static_pointer_cast<CachedImage>(image));
    at += tokens;
    row += static_cast<int32_t>(tokens);
  }
  while (at < prompt.image_rows.size()) {
    if (prompt.image_rows[at++] >= 0) return invalid("the prompt has image tokens that no picture belongs to");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<ActiveRequest>> make_active(EngineRequest request, const StepRunnerInfo& info,
                                                   std::string_view model_key, int64_t now_ns) {
  const int32_t num_prompt = request.prompt.num_tokens();
  if (num_prompt == 0) return invalid("the prompt is empty");
  if (request.max_tokens < 0) return invalid("max_tokens is " + std::to_string(request.max_tokens));
  const int32_t capacity = std::min(info.max_model_len, info.num_blocks * info.block_size);
  if (num_prompt >= capacity) {
    return Error{ErrorCode::kTooLarge, "the prompt has " + std::to_string(num_prompt) + " tokens; the context holds " +
                                           std::to_string(capacity) + ", the answer included"};
  }
  RETURN_IF_ERROR(validate(request.sampling, info.vocab_size));
  auto active = std::make_unique<ActiveRequest>();
  RETURN_IF_ERROR(find_images(request, info.spatial_merge_size, *active));
  if (!request.sampling.seed) {
    std::random_device random;
    request.sampling.seed = (uint64_t{random()} << 32) | random();
  }
  active->priority = request.priority;
  active->arrival_ns = request.arrival_ns;
  active->deadline_ns = request.deadline_ns;
  active->max_tokens = std::min(request.max_tokens, capacity - num_prompt);
  active->wait_for_ids = request.token_mask != nullptr;
  active->num_prompt = num_prompt;
  active->covered_ns = now_ns;
  // Nothing grows later: a step allocates nothing, and a step in flight may point into these.
  const auto total = static_cast<size_t>(num_prompt + active->max_tokens + 1);
  const auto block_size = static_cast<size_t>(info.block_size);
  active->token_ids = std::move(request.prompt.token_ids);
  active->token_ids.reserve(total);
  active->block_ids.reserve(total / block_size + 1);
  active->hashes.reserve(total / block_size + 1);
  active->spans.reserve(4);
  BlockHasher hasher;
  active->seed = hasher.seed(model_key, request.cache_salt);
  extend_hashes(hasher, active->seed, active->token_ids, info.block_size, active->images, active->hashes);
  active->request = std::move(request);
  return active;
}

}  // namespace glimpse
