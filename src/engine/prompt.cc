#include "engine/prompt.h"

namespace glimpse {

Result<Prompt> make_prompt(const ModelConfig& config, std::vector<int32_t> token_ids, std::vector<GridThw> grids) {
  if (token_ids.empty()) return Error{ErrorCode::kInvalidArgument, "the prompt is empty"};
  Prompt prompt;
  const auto image_token = static_cast<int32_t>(config.image_token_id);
  int32_t image_row = 0;
  prompt.image_rows.reserve(token_ids.size());
  for (size_t i = 0; i < token_ids.size(); ++i) {
    const int32_t id = token_ids[i];
    if (id < 0 || id >= config.text.vocab_size) {
      return Error{ErrorCode::kInvalidArgument, "token " + std::to_string(i) + " of the prompt is " +
                                                    std::to_string(id) + "; the vocabulary has ids 0 to " +
                                                    std::to_string(config.text.vocab_size - 1)};
    }
    prompt.image_rows.push_back(id == image_token ? image_row++ : -1);
  }
  ASSIGN_OR_RETURN(prompt.positions, mrope_positions(token_ids, image_token, grids,
                                                     static_cast<int32_t>(config.vision.spatial_merge_size)));
  prompt.token_ids = std::move(token_ids);
  prompt.grids = std::move(grids);
  return prompt;
}

}  // namespace glimpse
