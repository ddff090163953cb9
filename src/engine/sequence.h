#pragma once

// A request while it is being worked on, as integers: what the scheduler counts with. Its tensors, sampler and caller
// are the engine's.

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/block_hash.h"
#include "engine/request.h"

namespace glimpse {

struct Sequence {
  // Set by the caller before Scheduler::add.
  uint64_t id = 0;
  Priority priority = Priority::kInteractive;
  int64_t arrival_ns = 0;
  std::optional<int64_t> deadline_ns;
  int32_t max_tokens = 0;     // 0: only the prompt's full blocks are computed
  bool wait_for_ids = false;  // each id has to be known before the next step is made: a grammar follows it
  int32_t num_prompt = 0;
  std::vector<int32_t> token_ids;  // known so far; -1 - slot: sampled there by a step that is not collected yet
  std::vector<ImageSpan> images;   // in order
  BlockHash seed;
  std::vector<BlockHash> hashes;  // of the full blocks whose ids are known

  // The scheduler's.
  enum class State : uint8_t { kWaiting, kRunning, kEnded };
  State state = State::kWaiting;
  int32_t slot = -1;               // of the sampler, while running
  std::vector<int32_t> block_ids;  // while running: held
  int32_t num_computed = 0;        // tokens whose keys and values are in the blocks, steps in flight included
  int32_t num_published = 0;       // blocks
  int32_t num_pending = 0;         // sampled ids that are still on their way
  int32_t num_in_flight = 0;       // steps that it takes part in
  int32_t num_cached = 0;          // prompt tokens that were found in the cache
  int32_t num_preemptions = 0;
  bool started = false;  // has taken part in a step

  int32_t num_tokens() const { return static_cast<int32_t>(token_ids.size()); }
  int32_t num_output() const { return num_tokens() - num_prompt; }
  bool is_draft() const { return max_tokens == 0; }
};

}  // namespace glimpse
