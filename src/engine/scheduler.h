#pragma once

// Decides what each step runs. It counts tokens, not phases: every sequence's computed tokens catch up with its known
// ones. In a step the decoding sequences come first (one token each), then whoever has most to catch up, by class and
// arrival, as far as the step's budget goes. Blocks are taken as they are needed; when they run out, the youngest
// sequence of the lowest class gives its blocks back and starts over later, mostly from the prefix cache.
//
// Why every request ends: the oldest sequence of the highest class can take the blocks of all others, and add() accepts
// only what fits the pool alone; so it advances in each step that it is not gated by a picture, and pictures need no
// blocks. Those behind it move up.
//
// No tensors, no clock, no threads: simulated from a seed in tests/engine/scheduler_simulation_test.cc.

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_pool.h"
#include "engine/sequence.h"

namespace glimpse {

struct SchedulerOptions {
  int32_t num_blocks = 0;
  int32_t block_size = 0;
  int32_t max_num_seqs = 0;            // sequences in a step
  int32_t max_num_batched_tokens = 0;  // tokens in a step; at least max_num_seqs
  int32_t max_num_waiting = 1024;      // requests in the queue
};

// Says whether a picture's rows can be read by the next step.
class ImageGate {
 public:
  virtual ~ImageGate() = default;
  // Whether the tower is done with it.
  virtual bool encoded(const Sequence& sequence, size_t image_idx) = 0;
  // Keeps the rows in place for the step that is being made; false: not encoded yet, or no room beside this step's
  // other pictures.
  virtual bool acquire(const Sequence& sequence, size_t image_idx) = 0;
};

// What a step may compute beside decoding, by class: prompt tokens that may be in the step after a sequence of that
// class has had its part.
using PrefillBudget = std::array<int32_t, 3>;

// A sequence's part in a step: its tokens [first, first + count).
struct StepEntry {
  Sequence* sequence = nullptr;
  int32_t first = 0;
  int32_t count = 0;
  bool samples = false;  // the last one's logits give the sequence's next token
  int32_t slot = -1;
  int32_t epoch = 0;  // Sequence::num_preemptions when the step was made
};

// A sequence that ended without anybody's asking.
struct EndedSequence {
  Sequence* sequence = nullptr;
  FinishReason reason = FinishReason::kCancelled;
};

class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Queues a sequence; it must stay where it is until it has ended and takes part in no step. When the queue is full, a
  // waiting draft gives up its place (see ended()). Errors: kTooLarge when prompt and one token do not fit the pool;
  // kOverloaded when the queue is full.
  Status add(Sequence& sequence);
  // Ends a sequence in whatever state it is; its blocks are free at once.
  void end(Sequence& sequence);

  // Makes the next step. Entries stay valid until the next call; empty: nothing can be computed now. Sequences whose
  // deadline has passed, and drafts that are done or lost their blocks, are in ended() afterwards.
  std::span<const StepEntry> schedule(int64_t now_ns, const PrefillBudget& budget, ImageGate& gate);
  std::span<const EndedSequence> ended() const { return ended_; }
  void clear_ended() { ended_.clear(); }

  // A step's results, in the order the steps were made. `id` is what the entry sampled (ignored when it did not). Full
  // blocks become findable. False when the token is of no use: the sequence has ended meanwhile.
  bool complete(const StepEntry& entry, int32_t id);

  const BlockPool& pool() const { return pool_; }
  std::span<Sequence* const> running() const { return running_; }
  std::span<Sequence* const> waiting() const { return waiting_; }
  bool has_prefill() const;  // somebody has more than one token to catch up with
  int32_t num_decoding() const;
  int64_t num_preemptions() const { return num_preemptions_; }
  int64_t prefix_queries_tokens() const { return prefix_queries_tokens_; }
  int64_t prefix_hits_tokens() const { return prefix_hits_tokens_; }

  void check_integrity() const;

 private:
  void expire(int64_t now_ns);
  void decode(int32_t& tokens_left);
  void prefill_running(int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget, ImageGate& gate);
  void admit(int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget, ImageGate& gate);
  bool can_admit(Sequence& sequence);
  bool wants_step(const Sequence& sequence) const;
  int32_t target(const Sequence& sequence) const;
  bool is_decoding(const Sequence& sequence) const;
  bool prefill(Sequence& sequence, int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget,
               ImageGate& gate);
  void take_from_cache(Sequence& sequence);
  int32_t count_cached(const Sequence& sequence, int32_t& free_ones) const;
  Sequence* computing_the_same(const Sequence& sequence, int32_t block_idx) const;
  bool reserve(Sequence& sequence, int32_t num_tokens);
  void trim(Sequence& sequence, int32_t num_tokens);
  void preempt(Sequence& sequence);
  void leave(Sequence& sequence);
  void append(Sequence& sequence, int32_t count);
  static bool before(const Sequence& a, const Sequence& b);

  SchedulerOptions options_;
  BlockPool pool_;
  BlockHasher hasher_;
  std::vector<Sequence*> running_;  // by class, then arrival
  std::vector<Sequence*> waiting_;  // likewise
  std::vector<int32_t> free_slots_;
  std::vector<StepEntry> entries_;
  std::vector<EndedSequence> ended_;
  int64_t num_preemptions_ = 0;
  int64_t prefix_queries_tokens_ = 0;
  int64_t prefix_hits_tokens_ = 0;
};

}  // namespace glimpse
