#pragma once

// One request at a time: pictures, prefill in chunks, then a token per step. The engine loop of the server will take
// its place for many requests; the steps are the same.

#include <functional>
#include <span>
#include <vector>

#include "base/clock.h"
#include "base/latency.h"
#include "engine/finish_reason.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "sampling/params.h"
#include "sampling/sampler.h"

namespace glimpse {

// A picture ready for the vision tower: see VisionTower::begin.
struct PreparedImage {
  GridThw grid;
  PixelSource pixels = nullptr;
};

struct GenerateRequest {
  const Prompt* prompt = nullptr;
  std::span<const PreparedImage> images;  // as prompt->grids
  SamplingParams sampling;
  std::vector<int32_t> stop_token_ids;  // end the answer and are not part of it; empty: none
  int32_t max_tokens = 0;               // at least 1
};

struct GenerateResult {
  std::vector<int32_t> output_ids;  // with the stop token, if one ended it
  FinishReason reason = FinishReason::kLength;
};

// Called with each token that is not a stop token and the float32 logits it was drawn from (before penalties); false
// ends the answer (kStop: the caller found a stop string).
using TokenCallback = std::function<bool(const SampledToken& token, std::span<const float> logits)>;

class Generator {
 public:
  Generator(Runner& runner, const Clock& clock);

  // Errors: kTooLarge when prompt and answer do not fit the context, before anything is computed; kInvalidArgument for
  // sampling parameters; what Runner::encode_image returns. Spans vision, prefill, first_token and decode are recorded.
  Result<GenerateResult> generate(const GenerateRequest& request, LatencyAccount& account,
                                  const TokenCallback& on_token);

 private:
  Status encode_images(const GenerateRequest& request, LatencyAccount& account);
  const float* prefill(const Prompt& prompt);
  const float* decode_step(int32_t token_id, int32_t num_computed, int32_t position);

  Runner& runner_;
  const Clock& clock_;
  std::vector<int32_t> block_ids_;  // one sequence owns all blocks
  Batch batch_;                     // one entry
  int32_t token_id_ = 0;
  int32_t position_ = 0;
};

}  // namespace glimpse
