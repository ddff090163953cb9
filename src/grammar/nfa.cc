#include "grammar/nfa.h"

#include <algorithm>
#include <array>
#include <map>

namespace glimpse {

namespace {

using StateSet = std::vector<int32_t>;  // ascending

class Determinizer {
 public:
  Determinizer(const Nfa& nfa, int32_t accept) : nfa_(nfa), accept_(accept), marked_(nfa.size(), false) {}

  Result<RuleDfa> run() {
    intern(closure({0}));
    for (size_t i = 0; i < sets_.size(); ++i) {
      const StateSet set = *sets_[i];
      if (std::binary_search(set.begin(), set.end(), accept_)) made_.states[i].accepts = true;
      expand_bytes(i, set);
      expand_calls(i, set);
      if (sets_.size() > kMaxRuleStates || work_ > kMaxRuleWork) {
        return Error{ErrorCode::kTooLarge, "the pattern or schema is too complex"};
      }
    }
    made_.work = work_;
    return std::move(made_);
  }

 private:
  StateSet closure(StateSet seeds) {
    StateSet found;
    while (!seeds.empty()) {
      const int32_t state = seeds.back();
      seeds.pop_back();
      if (marked_[static_cast<size_t>(state)]) continue;
      marked_[static_cast<size_t>(state)] = true;
      found.push_back(state);
      const auto& free = nfa_.states()[static_cast<size_t>(state)].free;
      seeds.insert(seeds.end(), free.begin(), free.end());
    }
    for (const int32_t state : found) marked_[static_cast<size_t>(state)] = false;
    std::sort(found.begin(), found.end());
    work_ += found.size();
    return found;
  }

  int32_t intern(StateSet&& set) {
    const auto [place, added] = ids_.emplace(std::move(set), static_cast<int32_t>(sets_.size()));
    if (added) {
      sets_.push_back(&place->first);
      made_.states.emplace_back();
    }
    return place->second;
  }

  // Between two neighbouring bounds of the edges' ranges, all bytes lead to the same states.
  void expand_bytes(size_t index, const StateSet& set) {
    std::vector<Nfa::Edge> edges;
    std::array<bool, 257> bound{};
    for (const int32_t state : set) {
      for (const Nfa::Edge& edge : nfa_.states()[static_cast<size_t>(state)].bytes) {
        edges.push_back(edge);
        bound[edge.low] = true;
        bound[edge.high + size_t{1}] = true;
      }
    }
    if (edges.empty()) return;
    std::vector<RuleDfa::Range> ranges;
    for (size_t low = 0; low < 256;) {
      size_t high = low + 1;
      while (high < 256 && !bound[high]) ++high;
      StateSet targets;
      for (const Nfa::Edge& edge : edges) {
        if (edge.low <= low && low <= edge.high) targets.push_back(edge.to);
      }
      work_ += edges.size() + 1;
      if (!targets.empty()) {
        const int32_t to = intern(closure(std::move(targets)));
        if (!ranges.empty() && ranges.back().to == to && ranges.back().high + size_t{1} == low) {
          ranges.back().high = static_cast<uint8_t>(high - 1);
        } else {
          ranges.push_back({static_cast<uint8_t>(low), static_cast<uint8_t>(high - 1), to});
        }
      }
      low = high;
    }
    made_.states[index].ranges = std::move(ranges);
  }

  void expand_calls(size_t index, const StateSet& set) {
    std::map<int32_t, StateSet> targets;
    for (const int32_t state : set) {
      for (const Nfa::Call& call : nfa_.states()[static_cast<size_t>(state)].calls) {
        targets[call.rule].push_back(call.to);
      }
    }
    for (auto& [rule, to] : targets) {
      const int32_t next = intern(closure(std::move(to)));
      made_.states[index].calls.push_back({rule, next});
    }
  }

  const Nfa& nfa_;
  const int32_t accept_;
  std::vector<bool> marked_;
  std::map<StateSet, int32_t> ids_;
  std::vector<const StateSet*> sets_;  // by DFA state; keys of ids_
  RuleDfa made_;
  size_t work_ = 0;
};

}  // namespace

int32_t Nfa::add_text(int32_t from, std::string_view text) {
  for (const char c : text) {
    const int32_t to = add_state();
    add_bytes(from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
    from = to;
  }
  return from;
}

int32_t Nfa::add_texts(int32_t from, std::span<const std::string> texts) {
  std::vector<std::string_view> sorted(texts.begin(), texts.end());
  std::sort(sorted.begin(), sorted.end());
  const int32_t end = add_state();
  std::vector<int32_t> path{from};
  std::string_view last;
  for (const std::string_view text : sorted) {
    const auto shared =
        static_cast<size_t>(std::mismatch(last.begin(), last.end(), text.begin(), text.end()).first - last.begin());
    path.resize(shared + 1);
    for (size_t i = shared; i < text.size(); ++i) {
      const int32_t to = add_state();
      add_bytes(path.back(), static_cast<uint8_t>(text[i]), static_cast<uint8_t>(text[i]), to);
      path.push_back(to);
    }
    add_free(path.back(), end);
    last = text;
  }
  return end;
}

Result<RuleDfa> determinize(const Nfa& nfa, int32_t accept) {
  if (nfa.size() > kMaxNfaStates) return Error{ErrorCode::kTooLarge, "the pattern or schema is too large"};
  return Determinizer(nfa, accept).run();
}

}  // namespace glimpse
