#pragma once

// A model's files, read and understood, before any weights are packed.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "image/options.h"
#include "model/config.h"
#include "model/generation_config.h"
#include "processor/chat_template.h"
#include "tokenizer/tokenizer.h"
#include "weights/file_set.h"
#include "weights/source.h"

namespace glimpse {

enum class LoadFormat { kAuto, kDummy };

struct ModelSource {
  std::string label;  // the directory, or what stands for it
  ModelConfig config;
  GenerationConfig generation;
  ImageOptions image;
  Tokenizer tokenizer;
  ChatTemplate chat_template;
  std::vector<int32_t> eos_token_ids;
  std::shared_ptr<const WeightSource> weights;
  std::string cache_key;  // names the weights' content for the cache of packed weights; empty: do not keep any
  // With glimpse-mini's tokenizer (where the checkpoint has none and none is needed): ids of its special tokens in this
  // model. Other ids are the tokenizer's, and those beyond it print as ⟨id⟩.
  std::vector<std::pair<int32_t, int32_t>> borrowed_ids;  // {tokenizer's id, model's id}

  // Ids between the tokenizer and the model; the identity unless the tokenizer is borrowed.
  void to_model_ids(std::vector<int32_t>& ids) const;
  // The tokenizer's id of a model's id, or nothing if it has none.
  std::optional<int32_t> to_tokenizer_id(int32_t id) const;
};

// Whether text has to be turned into ids; with token ids given, a checkpoint without a tokenizer will do.
enum class TokenizerUse { kRequired, kOptional };

// `model`: empty for the built-in one, a directory, or a hub id found in the local hub cache. Errors name the file and
// the field.
Result<ModelSource> open_model(const std::string& model, LoadFormat format,
                               TokenizerUse tokenizer_use = TokenizerUse::kRequired);

}  // namespace glimpse
