#pragma once

// From a checkpoint's tensors to packed weights. One line per tensor: its name and shape; what is missing or has
// another shape is named.

#include <functional>
#include <memory>

#include "model/config.h"
#include "model/packed_cache.h"
#include "model/text_decoder.h"
#include "model/vision_tower.h"
#include "weights/source.h"

namespace glimpse {

enum class Quantization : uint8_t { kNone, kInt8, kInt4, kFp8 };

struct LoadOptions {
  DType dtype = DType::kBF16;  // kBF16 or kF32: of weights that are not quantised, and of attention
  Quantization quantization = Quantization::kNone;  // of the linear layers
  // The head in eight bits, whatever the layers are in: fp8 where the back end has it, else int8.
  bool quantize_head = false;
  PackedCache* cache = nullptr;  // may be null; the caller finishes it
  // Called after each layer with the number of weights loaded by it. May be empty.
  std::function<void(int64_t weights)> progress;
};

// Errors: kInvalidData and kUnsupported for the checkpoint's faults, kResource for memory. The source's pages are
// dropped as they are read, except for the embedding, which stays mapped (and the source alive) where its dtype and
// alignment allow it.
Result<TextWeights> load_text_weights(Backend& backend, const TextConfig& config,
                                      std::shared_ptr<const WeightSource> source, const LoadOptions& options);
Result<VisionWeights> load_vision_weights(Backend& backend, const VisionConfig& config,
                                          std::shared_ptr<const WeightSource> source, const LoadOptions& options);

// Groups of 128 columns to a scale, 32 where rows are short: small models lose more to a shared scale.
constexpr int32_t quantization_group(int64_t hidden_size) {
  return hidden_size < 2048 ? 32 : 128;
}

}  // namespace glimpse
