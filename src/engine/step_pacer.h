#pragma once

// How much a step may do beside decoding, so that running answers keep their pace: a step may take about twice what
// decoding alone takes, and what prefill tokens and vision take is predicted from what they took lately. A processor's
// speed changes with batch, context, clock and neighbours; measuring follows all of them, a table would none.

#include <array>
#include <cstdint>
#include <vector>

#include "engine/scheduler.h"

namespace glimpse {

struct StepPacerOptions {
  // What a step may take longer than decoding alone, by the class of what makes it longer.
  std::array<double, 3> slack = {0.8, 0.5, 0.25};
  // But prefill may always take as long as nobody sees: a small model's steps would leave it a few tokens each.
  int64_t prefill_unseen_ns = 10'000'000;
  // Of prefill and of vision when nobody decodes: a cancel or a new request waits that long.
  int64_t prefill_alone_ns = 1'000'000'000;
  int64_t vision_alone_ns = 100'000'000;
};

class StepPacer {
 public:
  StepPacer(const StepPacerOptions& options, int32_t max_num_seqs, int32_t max_num_batched_tokens);

  // What a step took from submit to its tokens, without vision.
  void record_step(int32_t num_decode, int32_t num_prefill, int64_t ns);
  void record_vision(double flops, int64_t ns);

  // Prompt tokens of the next step beside num_decoding decoding sequences. When pictures wait as well, half of the time
  // is theirs.
  PrefillBudget prefill_budget(int32_t num_decoding, bool vision_waits) const;
  // Operations of vision in a step with so many decoding sequences and prompt tokens, for a picture of that class.
  double vision_flops(int32_t num_decoding, int32_t num_prefill, Priority priority) const;

  // What a step of so many decoding sequences usually takes; 0: not known yet.
  double usual_ns(int32_t num_decoding) const;
  double prefill_token_ns() const { return prefill_token_ns_; }

 private:
  StepPacerOptions options_;
  int32_t max_tokens_;
  std::vector<double> usual_ns_;  // by number of decoding sequences; 0: never seen
  double prefill_ns_ = 0;         // of the last steps, older ones counting less and less, and of the tokens in them
  double prefill_tokens_ = 0;
  double prefill_token_ns_ = 0;
  double vision_flop_ns_ = 0;
};

}  // namespace glimpse
