#include "grammar/grammar.h"

#include <algorithm>

namespace glimpse {

namespace {

constexpr size_t kMaxStates = 200000;
constexpr uint32_t kRangesForRow = 6;  // from so many on, a state's bytes get a row
constexpr size_t kMaxRows = 4096;      // 4 MB

// For each rule, the states from which its end can be reached, given the rules that can be matched at all.
std::vector<bool> useful_states(const RuleDfa& rule, const std::vector<bool>& matchable) {
  std::vector<std::vector<int32_t>> into(rule.states.size());
  std::vector<bool> useful(rule.states.size(), false);
  std::vector<int32_t> open;
  for (size_t i = 0; i < rule.states.size(); ++i) {
    const RuleDfa::State& state = rule.states[i];
    for (const auto& range : state.ranges) into[static_cast<size_t>(range.to)].push_back(static_cast<int32_t>(i));
    for (const auto& call : state.calls) {
      if (matchable[static_cast<size_t>(call.rule)]) {
        into[static_cast<size_t>(call.to)].push_back(static_cast<int32_t>(i));
      }
    }
    if (state.accepts) {
      useful[i] = true;
      open.push_back(static_cast<int32_t>(i));
    }
  }
  while (!open.empty()) {
    const int32_t state = open.back();
    open.pop_back();
    for (const int32_t before : into[static_cast<size_t>(state)]) {
      if (useful[static_cast<size_t>(before)]) continue;
      useful[static_cast<size_t>(before)] = true;
      open.push_back(before);
    }
  }
  return useful;
}

void remove_useless(std::vector<RuleDfa>& rules) {
  std::vector<bool> matchable(rules.size(), false);
  std::vector<std::vector<bool>> useful(rules.size());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = 0; i < rules.size(); ++i) {
      if (matchable[i]) continue;
      useful[i] = useful_states(rules[i], matchable);
      if (useful[i][0] && rules[i].min_count <= rules[i].max_count) matchable[i] = changed = true;
    }
  }
  for (size_t i = 0; i < rules.size(); ++i) {
    useful[i] = matchable[i] ? useful_states(rules[i], matchable) : std::vector<bool>(rules[i].states.size(), false);
    for (RuleDfa::State& state : rules[i].states) {
      std::erase_if(state.ranges, [&](const auto& range) { return !useful[i][static_cast<size_t>(range.to)]; });
      std::erase_if(state.calls, [&](const auto& call) {
        return !matchable[static_cast<size_t>(call.rule)] || !useful[i][static_cast<size_t>(call.to)];
      });
      if (!matchable[i]) state.accepts = false;
    }
  }
}

// Rules that a rule may call before it has read a byte.
std::vector<std::vector<int32_t>> first_calls(const std::vector<RuleDfa>& rules, const std::vector<bool>& nullable) {
  std::vector<std::vector<int32_t>> calls(rules.size());
  for (size_t i = 0; i < rules.size(); ++i) {
    std::vector<int32_t> open{0};
    std::vector<bool> seen(rules[i].states.size(), false);
    while (!open.empty()) {
      const auto state = static_cast<size_t>(open.back());
      open.pop_back();
      if (seen[state]) continue;
      seen[state] = true;
      for (const auto& call : rules[i].states[state].calls) {
        calls[i].push_back(call.rule);
        if (nullable[static_cast<size_t>(call.rule)]) open.push_back(call.to);
      }
    }
  }
  return calls;
}

// Nullable directly: nothing but white space is, and that calls nothing.
bool recurses_on_the_left(const std::vector<RuleDfa>& rules) {
  std::vector<bool> nullable;
  for (const RuleDfa& rule : rules) nullable.push_back(rule.states[0].accepts);
  const auto calls = first_calls(rules, nullable);
  std::vector<uint8_t> colour(rules.size(), 0);  // 0 new, 1 on the path, 2 done
  for (size_t root = 0; root < rules.size(); ++root) {
    std::vector<std::pair<size_t, size_t>> path{{root, 0}};  // rule, next of its calls
    if (colour[root] != 0) continue;
    colour[root] = 1;
    while (!path.empty()) {
      auto& [rule, at] = path.back();
      if (at == calls[rule].size()) {
        colour[rule] = 2;
        path.pop_back();
        continue;
      }
      const auto next = static_cast<size_t>(calls[rule][at++]);
      if (colour[next] == 1) return true;
      if (colour[next] == 2) continue;
      colour[next] = 1;
      path.emplace_back(next, 0);
    }
  }
  return false;
}

}  // namespace

Result<std::shared_ptr<const Grammar>> Grammar::make(std::vector<RuleDfa> rules, int32_t root, size_t num_shared) {
  size_t total = 0;
  for (const RuleDfa& rule : rules) total += rule.states.size();
  if (total > kMaxStates) return Error{ErrorCode::kTooLarge, "the schema is too large"};
  if (recurses_on_the_left(rules)) {
    return Error{ErrorCode::kInvalidArgument, "the schema refers to itself without anything in between"};
  }
  remove_useless(rules);

  auto made = std::make_shared<Grammar>();
  made->root_ = root;
  made->states_.reserve(total);
  for (size_t i = 0; i < rules.size(); ++i) {
    const RuleDfa& rule = rules[i];
    const auto first = static_cast<int32_t>(made->states_.size());
    made->starts_.push_back(first);
    made->bounds_.emplace_back(rule.min_count, rule.max_count);
    for (const RuleDfa::State& state : rule.states) {
      State flat{
          .first_range = static_cast<uint32_t>(made->ranges_.size()),
          .num_ranges = static_cast<uint32_t>(state.ranges.size()),
          .first_call = static_cast<uint32_t>(made->calls_.size()),
          .num_calls = static_cast<uint32_t>(state.calls.size()),
          .rule = static_cast<int32_t>(i),
          .accepts = state.accepts,
          .counts = state.counts,
          .below_max = state.below_max,
          .from_min = state.from_min,
          .plain = state.calls.empty() && !state.accepts && !state.counts && !state.below_max && !state.from_min};
      for (Range range : state.ranges) {
        range.to += first;
        made->ranges_.push_back(range);
      }
      for (const Call& call : state.calls) made->calls_.push_back({call.rule, call.to + first});
      if (flat.num_ranges >= kRangesForRow && made->rows_.size() < kMaxRows * 256) {
        flat.row = static_cast<int32_t>(made->rows_.size() / 256);
        made->rows_.resize(made->rows_.size() + 256, -1);
        for (uint32_t r = flat.first_range; r < made->ranges_.size(); ++r) {
          const Range& range = made->ranges_[r];
          std::fill(made->rows_.end() - 256 + range.low, made->rows_.end() - 255 + range.high, range.to);
        }
      }
      made->states_.push_back(flat);
    }
    if (i + 1 == num_shared) made->num_shared_states_ = made->states_.size();
  }
  const State& start = made->state(made->start());
  if (start.num_ranges == 0 && start.num_calls == 0 && !start.accepts) {
    return Error{ErrorCode::kInvalidArgument, "nothing can satisfy the schema"};
  }
  return std::shared_ptr<const Grammar>(std::move(made));
}

}  // namespace glimpse
