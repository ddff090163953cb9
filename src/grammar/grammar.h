#pragma once

// A compiled constraint: rules that are automata over bytes and calls of other rules. What does not recurse is a
// regular language, but calls keep the rules small and let what is worked out for one place (a JSON string, say) serve
// for all.

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "grammar/mask_cache.h"
#include "grammar/nfa.h"

namespace glimpse {

// Immutable but for its cache of masks, which locks itself.
class Grammar {
 public:
  using Range = RuleDfa::Range;
  using Call = RuleDfa::Call;

  // The states of all rules in one row. Bytes go through a row of 256 where a state has many ranges.
  struct State {
    uint32_t first_range = 0;
    uint32_t num_ranges = 0;
    int32_t row = -1;
    uint32_t first_call = 0;
    uint32_t num_calls = 0;
    int32_t rule = 0;
    bool accepts = false;
    bool counts = false;
    bool below_max = false;
    bool from_min = false;
    bool plain = false;  // none of these, and no calls: to be here is all there is to know
  };

  // `rules` call each other by index. The first `num_shared` are the same in every grammar and call only each other:
  // what is worked out for their states is kept with the vocabulary. States from which no text leads on are removed.
  // Errors: kInvalidArgument when nothing matches, or a rule calls itself before it has read anything.
  static Result<std::shared_ptr<const Grammar>> make(std::vector<RuleDfa> rules, int32_t root, size_t num_shared);

  const State& state(int32_t index) const { return states_[static_cast<size_t>(index)]; }
  int32_t start() const { return starts_[static_cast<size_t>(root_)]; }
  int32_t start_of(int32_t rule) const { return starts_[static_cast<size_t>(rule)]; }
  std::span<const Call> calls(const State& state) const {
    return std::span(calls_).subspan(state.first_call, state.num_calls);
  }
  // -1: the byte is not possible.
  int32_t next(const State& state, uint8_t byte) const {
    if (state.row >= 0) return rows_[static_cast<size_t>(state.row) * 256 + byte];
    for (uint32_t i = 0; i < state.num_ranges; ++i) {
      const Range& range = ranges_[state.first_range + i];
      if (byte <= range.high) return byte >= range.low ? range.to : -1;
    }
    return -1;
  }
  uint32_t min_count(const State& state) const { return bounds_[static_cast<size_t>(state.rule)].first; }
  uint32_t max_count(const State& state) const { return bounds_[static_cast<size_t>(state.rule)].second; }
  bool is_counted(const State& state) const { return min_count(state) > 0 || max_count(state) != RuleDfa::kUnbounded; }
  size_t num_states() const { return states_.size(); }
  size_t num_shared_states() const { return num_shared_states_; }

  MaskCache& masks() const { return masks_; }

 private:
  std::vector<State> states_;
  std::vector<Range> ranges_;
  std::vector<Call> calls_;
  std::vector<int32_t> rows_;
  std::vector<int32_t> starts_;                        // by rule
  std::vector<std::pair<uint32_t, uint32_t>> bounds_;  // by rule: min_count, max_count
  int32_t root_ = 0;
  size_t num_shared_states_ = 0;
  mutable MaskCache masks_;
};

}  // namespace glimpse
