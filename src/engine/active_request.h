#pragma once

// A request inside the engine: the scheduler's integers and what they stand for.

#include <memory>
#include <vector>

#include "engine/sequence.h"
#include "engine/step_runner.h"
#include "engine/vision_cache.h"

namespace glimpse {

struct ActiveRequest : Sequence {
  EngineRequest request;
  std::vector<std::shared_ptr<CachedImage>> pictures;  // as images
  int32_t open_epoch = -1;                             // num_preemptions when its slot was opened; -1: never
  int64_t covered_ns = 0;                              // its spans reach to here
  std::vector<SpanRecord> spans;                       // that no event has told yet
};

// Checks a request and makes everything that can be made before its turn comes, block hashes included, so that the
// engine's thread need not. `model_key` as BlockHasher::seed. Errors: those of Engine::submit.
Result<std::unique_ptr<ActiveRequest>> make_active(EngineRequest request, const StepRunnerInfo& info,
                                                   std::string_view model_key, int64_t now_ns);

}  // namespace glimpse
