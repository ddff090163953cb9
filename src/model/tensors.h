#pragma once

// Which tensors a model consists of, and whether a source of weights has exactly those.

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "model/config.h"
#include "weights/source.h"

namespace glimpse {

// Every tensor of the model by its canonical name and shape: the specification that the loader, the dummy weights and
// `inspect` share (GLM-V reference, section 8.1). No lm_head when the embedding is tied. For the published 9B shape:
// 704 tensors, 10,292,777,472 parameters.
std::vector<TensorSpec> expected_tensors(const ModelConfig& config);

// The prefixes of one layer's names: "model.language_model.layers.3.", "model.visual.blocks.3.".
std::string text_layer_prefix(int64_t layer);
std::string vision_block_prefix(int64_t block);

// What a source lacks, has in another shape or dtype, and has beside what the model needs.
struct TensorAccount {
  std::vector<TensorSpec> missing;
  std::vector<std::string> wrong;       // one sentence each: shape or dtype
  std::vector<std::string> unexpected;  // names
  std::vector<std::string> ignored;     // names of what is known not to matter: rotary tables, prediction layers

  bool complete() const { return missing.empty() && wrong.empty() && unexpected.empty(); }
};

TensorAccount account_tensors(const ModelConfig& config, const WeightSource& source);

// Nothing when the account is complete; else kInvalidData, one line that counts all kinds and names the first few.
Status require_complete(const TensorAccount& account, std::string_view label);

}  // namespace glimpse
