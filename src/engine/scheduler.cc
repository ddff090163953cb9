#include "engine/scheduler.h"

#include <algorithm>
#include <tuple>

#include "base/check.h"

namespace glimpse {

namespace {

int32_t blocks_for(int32_t tokens, int32_t block_size) {
  return (tokens + block_size - 1) / block_size;
}

size_t class_of(const Sequence& sequence) {
  return static_cast<size_t>(sequence.priority);
}

}  // namespace

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options), pool_(options.num_blocks, options.block_size) {
  CHECK(options.max_num_seqs > 0 && options.max_num_batched_tokens >= options.max_num_seqs, options.max_num_seqs,
        options.max_num_batched_tokens);
  const auto seqs = static_cast<size_t>(options.max_num_seqs);
  running_.reserve(seqs);
  waiting_.reserve(seqs + static_cast<size_t>(options.max_num_waiting));
  entries_.reserve(seqs);
  ended_.reserve(2 * seqs);
  for (int32_t slot = options.max_num_seqs; slot-- > 0;) free_slots_.push_back(slot);
}

Status Scheduler::add(Sequence& sequence) {
  const int32_t capacity = pool_.num_blocks() * pool_.block_size();
  if (sequence.num_prompt >= capacity) {
    return Error{ErrorCode::kTooLarge, "the prompt has " + std::to_string(sequence.num_prompt) +
                                           " tokens; the KV cache holds " + std::to_string(capacity) +
                                           ", the answer included"};
  }
  const size_t bound = static_cast<size_t>(options_.max_num_waiting);
  if (waiting_.size() >= bound && !sequence.is_draft() && waiting_.back()->is_draft()) {
    Sequence& last = *waiting_.back();
    end(last);
    ended_.push_back({&last, FinishReason::kCancelled});
  }
  // Those who lost their blocks wait here as well; they do not count.
  if (waiting_.size() >= bound + static_cast<size_t>(options_.max_num_seqs)) {
    return Error{ErrorCode::kOverloaded, std::to_string(waiting_.size()) + " requests are waiting already"};
  }
  sequence.max_tokens = std::min(sequence.max_tokens, capacity - sequence.num_prompt);
  extend_hashes(hasher_, sequence.seed, sequence.token_ids, pool_.block_size(), sequence.images, sequence.hashes);
  sequence.state = Sequence::State::kWaiting;
  waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), &sequence,
                                   [](const Sequence* a, const Sequence* b) { return before(*a, *b); }),
                  &sequence);
  return {};
}

void Scheduler::end(Sequence& sequence) {
  if (sequence.state == Sequence::State::kRunning) {
    leave(sequence);
  } else if (sequence.state == Sequence::State::kWaiting) {
    std::erase(waiting_, &sequence);
  }
  sequence.state = Sequence::State::kEnded;
}

std::span<const StepEntry> Scheduler::schedule(int64_t now_ns, const PrefillBudget& budget, ImageGate& gate) {
  entries_.clear();
  expire(now_ns);
  int32_t tokens_left = options_.max_num_batched_tokens;
  int32_t prefilled = 0;
  decode(tokens_left);
  prefill_running(tokens_left, prefilled, budget, gate);
  admit(tokens_left, prefilled, budget, gate);
  // Only now: until here a sequence could still lose its place to another one.
  for (const StepEntry& entry : entries_) {
    Sequence& sequence = *entry.sequence;
    sequence.num_computed += entry.count;
    sequence.started = true;
    ++sequence.num_in_flight;
    if (entry.samples) {
      sequence.token_ids.push_back(-1 - sequence.slot);
      ++sequence.num_pending;
    }
  }
  return entries_;
}

bool Scheduler::complete(const StepEntry& entry, int32_t id) {
  Sequence& sequence = *entry.sequence;
  --sequence.num_in_flight;
  if (entry.samples) {
    --sequence.num_pending;
    sequence.token_ids[static_cast<size_t>(entry.first + entry.count)] = id;
  }
  if (sequence.state == Sequence::State::kEnded) return false;
  const auto known = static_cast<size_t>(sequence.num_tokens() - sequence.num_pending);
  extend_hashes(hasher_, sequence.seed, std::span(sequence.token_ids).first(known), pool_.block_size(), sequence.images,
                sequence.hashes);
  if (sequence.num_preemptions != entry.epoch) return true;  // its blocks are others' by now
  const int32_t full = (entry.first + entry.count) / pool_.block_size();
  for (int32_t& i = sequence.num_published; i < full && static_cast<size_t>(i) < sequence.hashes.size(); ++i) {
    pool_.publish(sequence.block_ids[static_cast<size_t>(i)], sequence.hashes[static_cast<size_t>(i)]);
  }
  return true;
}

void Scheduler::expire(int64_t now_ns) {
  const auto check = [&](std::vector<Sequence*>& list) {
    for (size_t i = list.size(); i-- > 0;) {
      Sequence& sequence = *list[i];
      const bool late = sequence.deadline_ns && now_ns > *sequence.deadline_ns;
      const bool done = sequence.is_draft() && sequence.state == Sequence::State::kRunning &&
                        sequence.num_in_flight == 0 && sequence.num_computed >= target(sequence);
      if (!late && !done) continue;
      end(sequence);
      ended_.push_back({&sequence, done ? FinishReason::kLength : FinishReason::kDeadline});
    }
  };
  check(running_);
  check(waiting_);
}

void Scheduler::decode(int32_t& tokens_left) {
  for (size_t i = 0; i < running_.size() && tokens_left > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (!is_decoding(sequence) || !wants_step(sequence)) continue;
    if (!reserve(sequence, sequence.num_computed + 1)) continue;  // others are older: one of them frees a block
    append(sequence, 1);
    --tokens_left;
  }
}

void Scheduler::prefill_running(int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget,
                                ImageGate& gate) {
  for (size_t i = 0; i < running_.size() && tokens_left > 0; ++i) {
    Sequence& sequence = *running_[i];
    if (is_decoding(sequence)) continue;
    take_from_cache(sequence);
    if (wants_step(sequence)) prefill(sequence, tokens_left, prefilled, budget, gate);
  }
}

void Scheduler::admit(int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget, ImageGate& gate) {
  for (size_t i = 0; i < waiting_.size() && tokens_left > 0;) {
    Sequence& sequence = *waiting_[i];
    if (budget[class_of(sequence)] <= prefilled) break;  // nor is there anything for the classes behind it
    int32_t free_ones = 0;
    const int32_t cached = count_cached(sequence, free_ones);
    const int32_t first = cached * pool_.block_size();
    bool later = sequence.num_pending > 0;
    if (Sequence* other = computing_the_same(sequence, cached); other != nullptr && !later) {
      if (other->priority > sequence.priority) {  // a draft of this very request, say
        std::erase(running_, other);
        other->priority = sequence.priority;
        running_.insert(std::upper_bound(running_.begin(), running_.end(), other,
                                         [](const Sequence* a, const Sequence* b) { return before(*a, *b); }),
                        other);
      }
      later = true;
    }
    for (size_t k = 0; k < sequence.images.size() && !later; ++k) {
      const ImageSpan& image = sequence.images[k];
      if (image.begin <= first && first < image.end) later = !gate.encoded(sequence, k);
    }
    if (later) {  // it holds nothing, so others may pass
      ++i;
      continue;
    }
    if (!can_admit(sequence)) break;
    std::erase(waiting_, &sequence);
    sequence.state = Sequence::State::kRunning;
    sequence.slot = free_slots_.back();
    free_slots_.pop_back();
    running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence,
                                     [](const Sequence* a, const Sequence* b) { return before(*a, *b); }),
                    &sequence);
    take_from_cache(sequence);
    if (!sequence.started) {
      prefix_queries_tokens_ += sequence.num_prompt;
      prefix_hits_tokens_ += sequence.num_cached;
    }
    if (sequence.num_computed >= target(sequence)) {  // a draft of what is there already
      end(sequence);
      ended_.push_back({&sequence, FinishReason::kLength});
      continue;
    }
    prefill(sequence, tokens_left, prefilled, budget, gate);
  }
}

// Whether there is a slot and room for all that the sequence has to catch up with; sequences of lower classes make
// room. One block for each running sequence stays free, so that the newcomer is not thrown out in the next step.
bool Scheduler::can_admit(Sequence& sequence) {
  const auto lower_runs = [&] { return !running_.empty() && running_.back()->priority > sequence.priority; };
  while (true) {
    if (running_.empty()) return true;
    int32_t free_ones = 0;
    const int32_t cached = count_cached(sequence, free_ones);
    const int32_t tokens = sequence.is_draft() ? target(sequence) : sequence.num_tokens() + 1;
    const int32_t needed =
        std::min(blocks_for(tokens, pool_.block_size()) - cached + static_cast<int32_t>(running_.size()),
                 pool_.num_blocks() - cached);
    if (!free_slots_.empty() && needed <= pool_.num_free() - free_ones) return true;
    if (!lower_runs()) return false;
    preempt(*running_.back());
  }
}

bool Scheduler::prefill(Sequence& sequence, int32_t& tokens_left, int32_t& prefilled, const PrefillBudget& budget,
                        ImageGate& gate) {
  const int32_t first = sequence.num_computed;
  int32_t end = std::min(target(sequence), first + std::min(tokens_left, budget[class_of(sequence)] - prefilled));
  const auto stop_at = [&](const auto& is_ready) {  // the first picture in [first, end) that is not
    for (size_t k = 0; k < sequence.images.size(); ++k) {
      const ImageSpan& image = sequence.images[k];
      if (image.end > first && image.begin < end && !is_ready(k)) end = std::max(image.begin, first);
    }
  };
  stop_at([&](size_t k) { return gate.encoded(sequence, k); });
  if (end <= first) return false;
  reserve(sequence, end);
  end = std::min(end, static_cast<int32_t>(sequence.block_ids.size()) * pool_.block_size());
  // Rows are kept for what will be in the step, and nothing else: others wait for the room.
  stop_at([&](size_t k) { return gate.acquire(sequence, k); });
  trim(sequence, std::max(first, end));
  if (end <= first) return false;
  append(sequence, end - first);
  tokens_left -= end - first;
  prefilled += end - first;
  return true;
}

// Takes blocks until `num_tokens` fit. Only the first missing one is worth somebody else's place. True when all fit.
bool Scheduler::reserve(Sequence& sequence, int32_t num_tokens) {
  const auto needed = static_cast<size_t>(blocks_for(num_tokens, pool_.block_size()));
  const auto first_needed = static_cast<size_t>(blocks_for(sequence.num_computed + 1, pool_.block_size()));
  while (sequence.block_ids.size() < needed) {
    const int32_t block = pool_.allocate();
    if (block >= 0) {
      sequence.block_ids.push_back(block);
    } else if (sequence.block_ids.size() < first_needed && running_.back() != &sequence) {
      preempt(*running_.back());
    } else {
      return false;
    }
  }
  return true;
}

// Gives back the blocks that lie behind so many tokens.
void Scheduler::trim(Sequence& sequence, int32_t num_tokens) {
  const auto needed = static_cast<size_t>(blocks_for(num_tokens, pool_.block_size()));
  if (sequence.block_ids.size() <= needed) return;
  pool_.unref(std::span(sequence.block_ids).subspan(needed));
  sequence.block_ids.resize(needed);
}

void Scheduler::append(Sequence& sequence, int32_t count) {
  entries_.push_back({.sequence = &sequence,
                      .first = sequence.num_computed,
                      .count = count,
                      .samples = !sequence.is_draft() && sequence.num_computed + count == sequence.num_tokens(),
                      .slot = sequence.slot,
                      .epoch = sequence.num_preemptions});
}

void Scheduler::preempt(Sequence& sequence) {
  std::erase_if(entries_, [&](const StepEntry& entry) { return entry.sequence == &sequence; });
  leave(sequence);
  ++sequence.num_preemptions;
  ++num_preemptions_;
  if (sequence.is_draft()) {
    sequence.state = Sequence::State::kEnded;
    ended_.push_back({&sequence, FinishReason::kCancelled});
    return;
  }
  sequence.state = Sequence::State::kWaiting;
  waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), &sequence,
                                   [](const Sequence* a, const Sequence* b) { return before(*a, *b); }),
                  &sequence);
}

void Scheduler::leave(Sequence& sequence) {
  std::erase(running_, &sequence);
  free_slots_.push_back(sequence.slot);
  pool_.unref(sequence.block_ids);
  sequence.block_ids.clear();
  sequence.slot = -1;
  sequence.num_computed = 0;
  sequence.num_published = 0;
}

// Whole blocks that somebody has computed are not computed again, also in the middle of a prompt. The last token always
// is: its logits are wanted.
void Scheduler::take_from_cache(Sequence& sequence) {
  const int32_t size = pool_.block_size();
  const int32_t last = sequence.is_draft() ? target(sequence) : sequence.num_tokens() - 1;
  while (true) {
    const size_t i = sequence.block_ids.size();
    if (sequence.num_computed != static_cast<int32_t>(i) * size || sequence.num_computed + size > last) return;
    if (i >= sequence.hashes.size()) return;
    const int32_t block = pool_.find(sequence.hashes[i]);
    if (block < 0) return;
    pool_.ref(block);
    sequence.block_ids.push_back(block);
    const int32_t prompt_left = std::max(0, sequence.num_prompt - sequence.num_computed);
    if (sequence.num_preemptions == 0) sequence.num_cached += std::min(size, prompt_left);
    sequence.num_computed += size;
    ++sequence.num_published;
  }
}

// Blocks that take_from_cache would find for a waiting sequence, and how many of them are free.
int32_t Scheduler::count_cached(const Sequence& sequence, int32_t& free_ones) const {
  const int32_t last = sequence.is_draft() ? target(sequence) : sequence.num_tokens() - 1;
  int32_t count = 0;
  for (const BlockHash& hash : sequence.hashes) {
    if ((count + 1) * pool_.block_size() > last) break;
    const int32_t block = pool_.find(hash);
    if (block < 0) break;
    free_ones += static_cast<int32_t>(pool_.is_free(block));
    ++count;
  }
  return count;
}

// The running sequence that is about to compute this block of a waiting one.
Sequence* Scheduler::computing_the_same(const Sequence& sequence, int32_t block_idx) const {
  const auto i = static_cast<size_t>(block_idx);
  const int32_t end = (block_idx + 1) * pool_.block_size();
  if (i >= sequence.hashes.size() || end >= sequence.num_tokens()) return nullptr;
  for (Sequence* other : running_) {
    if (other->hashes.size() > i && other->hashes[i] == sequence.hashes[i] && other->num_published <= block_idx &&
        end <= target(*other)) {
      return other;
    }
  }
  return nullptr;
}

bool Scheduler::wants_step(const Sequence& sequence) const {
  if (sequence.wait_for_ids && sequence.num_pending > 0) return false;
  return sequence.num_computed < target(sequence);
}

// How many tokens the sequence wants computed.
int32_t Scheduler::target(const Sequence& sequence) const {
  if (sequence.is_draft()) return sequence.num_prompt / pool_.block_size() * pool_.block_size();
  return sequence.num_output() < sequence.max_tokens ? sequence.num_tokens() : sequence.num_computed;
}

bool Scheduler::is_decoding(const Sequence& sequence) const {
  return sequence.num_output() > 0 && sequence.num_tokens() - sequence.num_computed <= 1;
}

bool Scheduler::has_prefill() const {
  return !waiting_.empty() || std::any_of(running_.begin(), running_.end(),
                                          [&](const Sequence* sequence) { return !is_decoding(*sequence); });
}

int32_t Scheduler::num_decoding() const {
  return static_cast<int32_t>(std::count_if(running_.begin(), running_.end(), [&](const Sequence* sequence) {
    return is_decoding(*sequence) && wants_step(*sequence);
  }));
}

bool Scheduler::before(const Sequence& a, const Sequence& b) {
  return std::tie(a.priority, a.arrival_ns, a.id) < std::tie(b.priority, b.arrival_ns, b.id);
}

void Scheduler::check_integrity() const {
  std::vector<int32_t> held(static_cast<size_t>(pool_.num_blocks()));
  std::vector<int32_t> slots(static_cast<size_t>(options_.max_num_seqs));
  for (const int32_t slot : free_slots_) ++slots[static_cast<size_t>(slot)];
  const auto ordered = [](const Sequence* a, const Sequence* b) { return before(*a, *b); };
  CHECK(std::is_sorted(running_.begin(), running_.end(), ordered));
  CHECK(std::is_sorted(waiting_.begin(), waiting_.end(), ordered));
  for (const Sequence* sequence : running_) {
    CHECK(sequence->state == Sequence::State::kRunning, sequence->id);
    ++slots[static_cast<size_t>(sequence->slot)];
    for (const int32_t block : sequence->block_ids) ++held[static_cast<size_t>(block)];
    const auto capacity = static_cast<int32_t>(sequence->block_ids.size()) * pool_.block_size();
    CHECK(sequence->num_computed <= capacity && capacity < sequence->num_computed + pool_.block_size(),
          sequence->num_computed, capacity);
    CHECK(sequence->num_published * pool_.block_size() <= sequence->num_computed, sequence->num_published);
    CHECK(sequence->num_output() <= std::max(1, sequence->max_tokens), sequence->num_output());
  }
  for (const Sequence* sequence : waiting_) {
    CHECK(sequence->state == Sequence::State::kWaiting && sequence->block_ids.empty() && sequence->slot < 0,
          sequence->id);
    CHECK(sequence->num_computed == 0 && sequence->num_published == 0, sequence->num_computed);
  }
  for (const int32_t count : slots) CHECK(count == 1, count);
  pool_.check_integrity(held);
}

}  // namespace glimpse
