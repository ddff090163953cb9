#pragma once

// The rules of a grammar being built, with those that every JSON grammar has.

#include <cstdint>
#include <vector>

#include "grammar/nfa.h"

namespace glimpse {

// Ids of the rules that stand first in every set. White space is one space, or a newline and up to 24 spaces or tabs:
// as much as anyone writes, and no way to go on for ever.
enum SharedRule : int32_t {
  kSpaceRule,     // may be empty
  kStringRule,    // a JSON string; escapes of lone surrogates are left out
  kNumberRule,    // up to 18 digits before and after the point, an exponent of two
  kIntegerRule,   // up to 18 digits
  kToolTextRule,  // text up to and with "</arg_value>", which it does not contain
  kAnyValueRule,  // any JSON value
  kAnyObjectRule,
  kAnyArrayRule,
  kNumSharedRules,
};

struct RuleSet {
  RuleSet();

  std::vector<RuleDfa> rules;

  size_t work = 0;  // of all rules: many that are just below the bound are too much together

  int32_t add(RuleDfa rule) {
    work += rule.work;
    rules.push_back(std::move(rule));
    return static_cast<int32_t>(rules.size()) - 1;
  }
  int32_t reserve() { return add({}); }
  void set(int32_t rule, RuleDfa made) {
    work += made.work;
    rules[static_cast<size_t>(rule)] = std::move(made);
  }
};

// "[" items "]" with between min and max of them.
RuleDfa list_rule(char open, int32_t item_rule, char close, uint32_t min_count, uint32_t max_count);
// A JSON string of min to max characters.
RuleDfa bounded_string_rule(uint32_t min_count, uint32_t max_count);

}  // namespace glimpse
