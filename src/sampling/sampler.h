#pragma once

// Logits to a token, for one sequence. The order is vLLM's and transformers': bias and the mask of min_tokens,
// penalties, temperature, top_k, top_p, min_p, draw. Equal logits go to the lower id.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sampling/params.h"

namespace glimpse {

struct SampledToken {
  int32_t id = 0;
  float logprob = 0;  // with params.logprobs >= 0: of the raw logits' softmax, before any of the above
  std::vector<std::pair<int32_t, float>> top_logprobs;  // likeliest first
};

struct SamplingCandidate {
  float logit;  // scaled: relative to the likeliest token's, divided by the temperature
  int32_t id;
};

// What sampling works in: one for each thread that samples, for any number of sequences. Grows at its first use.
struct SamplerScratch {
  // Both are padded to whole blocks of weights.h.
  std::vector<float> logits;       // adjusted, then scaled
  std::vector<float> weights;      // e^scaled: probabilities but for their sum
  std::vector<double> block_sums;  // of the weights
  std::vector<SamplingCandidate> candidates;
};

// State of one sequence: which tokens it has had, and its place in its random numbers, which are Philox4x32-10 of
// (seed, position), so that a sequence's draws do not depend on what else runs.
class Sampler {
 public:
  // `stop_ids` are masked while fewer than min_tokens were drawn. Errors: those of validate().
  static Result<Sampler> create(const SamplingParams& params, size_t vocab_size, std::span<const int32_t> prompt_ids,
                                std::span<const int32_t> stop_ids);

  // Draws the next token and remembers it. NaN logits are never drawn. Allocates nothing unless logprobs were asked
  // for. `logits` has vocab_size values and is left alone. `allowed`: bit i % 64 of word i / 64 is set when token i may
  // come (TokenMask); empty: every token. Log-probabilities are those of the logits as they were.
  SampledToken sample(std::span<const float> logits, SamplerScratch& scratch, std::span<const uint64_t> allowed = {});
  // With a scratch of its own.
  SampledToken sample(std::span<const float> logits) { return sample(logits, own_scratch_); }

  // As if these had been drawn: a sequence goes on in another sampler.
  void resume(std::span<const int32_t> output_ids);

 private:
  using Candidate = SamplingCandidate;

  Sampler() = default;
  void remember(int32_t id);
  void adjust(std::span<const float> logits, std::span<const uint64_t> allowed);
  int32_t draw();
  int32_t draw_from_all();
  int32_t draw_from_candidates();
  void collect(float lowest);
  void keep_top_k();
  Candidate last_of_top_p(double wanted);
  void add_logprobs(std::span<const float> logits, SampledToken& token);

  SamplingParams params_;
  uint64_t seed_ = 0;
  uint64_t position_ = 0;
  size_t vocab_size_ = 0;
  bool plain_ = true;  // nothing changes the logits: greedy needs no copy
  std::vector<int32_t> stop_ids_;
  std::vector<uint8_t> seen_;      // 1: in the prompt, 2: in the answer
  std::vector<int32_t> seen_ids_;  // every id with seen_ != 0, once
  std::vector<int32_t> output_counts_;
  SamplerScratch own_scratch_;
  SamplerScratch* scratch_ = nullptr;  // during sample()
};

// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a uniform number in [0, 1)
// with 24 bits, from the first word of the block (counter, key).
float philox_uniform(uint64_t key, uint64_t counter);

}  // namespace glimpse
