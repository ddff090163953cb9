#pragma once

// The names that tensors go by. Tools save the same model under different prefixes; inside Glimpse a tensor has the
// name of the published checkpoints: "model.language_model.…", "model.visual.…", "lm_head.…".

#include <string>
#include <string_view>

namespace glimpse {

// "language_model.model.layers.0.x", "model.layers.0.x" -> "model.language_model.layers.0.x"; "visual.x" ->
// "model.visual.x"; "language_model.lm_head.x" -> "lm_head.x". Other names stay as they are.
std::string canonical_tensor_name(std::string_view name);

}  // namespace glimpse
