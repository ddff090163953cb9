#pragma once

// Automata under construction: what schemas and regular expressions are translated into, and their determinisation.

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace glimpse {

// Nondeterministic, over bytes and calls of rules. Fragments are built from one state to another: a function that adds
// one takes the state it starts at and returns the one it ends at.
class Nfa {
 public:
  struct Edge {
    uint8_t low;
    uint8_t high;
    int32_t to;
  };
  struct Call {
    int32_t rule;
    int32_t to;
  };
  struct State {
    std::vector<Edge> bytes;
    std::vector<int32_t> free;  // without reading anything
    std::vector<Call> calls;
  };

  Nfa() { add_state(); }  // state 0 is the start

  int32_t add_state() {
    states_.emplace_back();
    return static_cast<int32_t>(states_.size()) - 1;
  }
  void add_bytes(int32_t from, uint8_t low, uint8_t high, int32_t to) { at(from).bytes.push_back({low, high, to}); }
  void add_free(int32_t from, int32_t to) { at(from).free.push_back(to); }
  int32_t add_call(int32_t from, int32_t rule) {
    const int32_t to = add_state();
    at(from).calls.push_back({rule, to});
    return to;
  }
  int32_t add_text(int32_t from, std::string_view text);
  // One of the texts; common beginnings share states.
  int32_t add_texts(int32_t from, std::span<const std::string> texts);

  const std::vector<State>& states() const { return states_; }
  size_t size() const { return states_.size(); }

 private:
  State& at(int32_t state) { return states_[static_cast<size_t>(state)]; }
  std::vector<State> states_;
};

// Deterministic in its symbols (bytes and called rules): at most one way to go on for each. What stays open is whether
// to read a byte, call a rule or end; the matcher follows all of them.
struct RuleDfa {
  static constexpr uint32_t kUnbounded = std::numeric_limits<uint32_t>::max();
  struct Range {
    uint8_t low;
    uint8_t high;
    int32_t to;
    bool operator==(const Range&) const = default;
  };
  using Call = Nfa::Call;
  struct State {
    std::vector<Range> ranges;  // ascending, disjoint
    std::vector<Call> calls;
    bool accepts = false;
    // Rules that count something (characters, items): entering such a state adds one, is possible only below max_count,
    // or only from min_count on.
    bool counts = false;
    bool below_max = false;
    bool from_min = false;
  };
  std::vector<State> states;  // 0 is the start
  uint32_t min_count = 0;
  uint32_t max_count = kUnbounded;
  size_t work = 0;  // what making it took, in steps of the subset construction

  // For rules made by hand.
  int32_t add_state() {
    states.emplace_back();
    return static_cast<int32_t>(states.size()) - 1;
  }
  State& at(int32_t state) { return states[static_cast<size_t>(state)]; }
};

// The subset construction from state 0 of `nfa`, accepting where state `accept` is reached. Errors: kTooLarge for more
// than kMaxRuleStates states, or too much work on the way there (catastrophic patterns).
inline constexpr size_t kMaxRuleStates = 60000;
inline constexpr size_t kMaxNfaStates = 200000;
inline constexpr size_t kMaxRuleWork = 20'000'000;  // some 150 ms
Result<RuleDfa> determinize(const Nfa& nfa, int32_t accept);

}  // namespace glimpse
