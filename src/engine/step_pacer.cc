#include "engine/step_pacer.h"

#include <algorithm>

namespace glimpse {

namespace {

constexpr int32_t kFirstChunk = 16;       // prompt tokens, as long as nothing was measured
constexpr double kFirstSliceFlops = 1e8;  // likewise

// Moves an average towards a new value; the first one is taken as it is.
void follow(double& average, double value, double weight) {
  average = average == 0 ? value : average + weight * (value - average);
}

}  // namespace

StepPacer::StepPacer(const StepPacerOptions& options, int32_t max_num_seqs, int32_t max_num_batched_tokens)
    : options_(options), max_tokens_(max_num_batched_tokens), usual_ns_(static_cast<size_t>(max_num_seqs) + 1) {}

void StepPacer::record_step(int32_t num_decode, int32_t num_prefill, int64_t ns) {
  const auto time = static_cast<double>(ns);
  if (num_prefill == 0) {
    // Now and then a step is interrupted; such a one says nothing about what is usual.
    double& usual = usual_ns_[static_cast<size_t>(num_decode)];
    follow(usual, usual == 0 ? time : std::min(time, 2 * usual), 0.1);
    return;
  }
  const double decode = num_decode == 0 ? 0 : usual_ns(num_decode);
  // Over several steps together: one that ends a known prompt has a few tokens and takes as long as a hundred.
  constexpr double kKeep = 0.7;
  prefill_ns_ = kKeep * prefill_ns_ + std::max(time - decode, 0.05 * time);
  prefill_tokens_ = kKeep * prefill_tokens_ + num_prefill;
  prefill_token_ns_ = prefill_ns_ / prefill_tokens_;
}

void StepPacer::record_vision(double flops, int64_t ns) {
  if (flops > 0) follow(vision_flop_ns_, static_cast<double>(ns) / flops, 0.3);
}

PrefillBudget StepPacer::prefill_budget(int32_t num_decoding, bool vision_waits) const {
  PrefillBudget budget{};
  for (size_t c = 0; c < budget.size(); ++c) {
    double time = static_cast<double>(options_.prefill_alone_ns);
    if (num_decoding > 0) {
      time = options_.slack[c] * usual_ns(num_decoding) * (vision_waits ? 0.5 : 1);
      if (!vision_waits) time = std::max(time, static_cast<double>(options_.prefill_unseen_ns));
    }
    const double tokens = prefill_token_ns_ == 0 ? kFirstChunk : time / prefill_token_ns_;
    // At least one token in each step, or a prompt beside many streams would never end.
    budget[c] = static_cast<int32_t>(std::clamp(tokens, 1.0, static_cast<double>(max_tokens_)));
  }
  return budget;
}

double StepPacer::vision_flops(int32_t num_decoding, int32_t num_prefill, Priority priority) const {
  if (vision_flop_ns_ == 0) return kFirstSliceFlops;
  if (num_decoding == 0) return static_cast<double>(options_.vision_alone_ns) / vision_flop_ns_;
  const double time = options_.slack[static_cast<size_t>(priority)] * usual_ns(num_decoding);
  return std::max(0.0, time - num_prefill * prefill_token_ns_) / vision_flop_ns_;
}

// A batch that was never measured takes about what the nearest smaller one took, or else the nearest larger one.
double StepPacer::usual_ns(int32_t num_decoding) const {
  const auto at = static_cast<size_t>(num_decoding);
  for (size_t i = at + 1; i-- > 1;) {
    if (usual_ns_[i] > 0) return usual_ns_[i];
  }
  for (size_t i = at + 1; i < usual_ns_.size(); ++i) {
    if (usual_ns_[i] > 0) return usual_ns_[i];
  }
  return 0;
}

}  // namespace glimpse
