#include "grammar/rule_set.h"

#include <array>
#include <string_view>

#include "base/check.h"
#include "grammar/regex.h"

namespace glimpse {

namespace {

constexpr int kMaxIndent = 24;

RuleDfa regex_rule(std::string_view pattern) {
  Nfa nfa;
  const auto end = add_regex(nfa, 0, pattern, RegexText::kPlain, RegexAnchors::kImplied);
  CHECK(end.has_value());
  auto rule = determinize(nfa, *end);
  CHECK(rule.has_value());
  return *std::move(rule);
}

RuleDfa space_rule() {
  RuleDfa rule;
  const int32_t start = rule.add_state();
  const int32_t space = rule.add_state();
  int32_t line = rule.add_state();
  rule.at(start).ranges = {{'\n', '\n', line}, {' ', ' ', space}};
  for (const int32_t state : {start, space, line}) rule.at(state).accepts = true;
  for (int i = 0; i < kMaxIndent; ++i) {
    const int32_t next = rule.add_state();
    rule.at(line).ranges = {{'\t', '\t', next}, {' ', ' ', next}};
    rule.at(next).accepts = true;
    line = next;
  }
  return rule;
}

struct LeadBytes {
  int32_t two;                                     // one more byte follows
  int32_t three;                                   // two more
  int32_t four;                                    // three more
  int32_t after_e0, after_ed, after_f0, after_f4;  // whose second byte is restricted
};

// States that read the rest of a character of several bytes, then go to `done`.
LeadBytes add_continuations(RuleDfa& rule, int32_t done) {
  LeadBytes lead{};
  for (int32_t* state :
       {&lead.two, &lead.three, &lead.four, &lead.after_e0, &lead.after_ed, &lead.after_f0, &lead.after_f4}) {
    *state = rule.add_state();
  }
  rule.at(lead.two).ranges = {{0x80, 0xBF, done}};
  rule.at(lead.three).ranges = {{0x80, 0xBF, lead.two}};
  rule.at(lead.four).ranges = {{0x80, 0xBF, lead.three}};
  rule.at(lead.after_e0).ranges = {{0xA0, 0xBF, lead.two}};
  rule.at(lead.after_ed).ranges = {{0x80, 0x9F, lead.two}};
  rule.at(lead.after_f0).ranges = {{0x90, 0xBF, lead.three}};
  rule.at(lead.after_f4).ranges = {{0x80, 0x8F, lead.three}};
  return lead;
}

void add_lead_ranges(std::vector<RuleDfa::Range>& ranges, const LeadBytes& lead) {
  const std::array<RuleDfa::Range, 8> all = {{{0xC2, 0xDF, lead.two},
                                              {0xE0, 0xE0, lead.after_e0},
                                              {0xE1, 0xEC, lead.three},
                                              {0xED, 0xED, lead.after_ed},
                                              {0xEE, 0xEF, lead.three},
                                              {0xF0, 0xF0, lead.after_f0},
                                              {0xF1, 0xF3, lead.four},
                                              {0xF4, 0xF4, lead.after_f4}}};
  ranges.insert(ranges.end(), all.begin(), all.end());
}

// Text that ends with the first occurrence of `tag`: how much of the tag has been read is the state (Knuth, Morris and
// Pratt), and a character of several bytes is never part of it.
RuleDfa text_before(std::string_view tag) {
  RuleDfa rule;
  for (size_t i = 0; i < tag.size(); ++i) rule.add_state();
  const int32_t done = rule.add_state();
  rule.at(done).accepts = true;
  const LeadBytes lead = add_continuations(rule, 0);
  for (size_t read = 0; read < tag.size(); ++read) {
    std::vector<RuleDfa::Range> ranges;
    for (int byte = 0; byte < 0x80; ++byte) {
      if (byte < 0x20 && byte != '\n' && byte != '\t' && byte != '\r') continue;
      const std::string text = std::string(tag.substr(0, read)) + static_cast<char>(byte);
      size_t matched = std::min(text.size(), tag.size());
      while (!std::string_view(text).ends_with(tag.substr(0, matched))) --matched;
      const auto to = static_cast<int32_t>(matched);  // the last of them is `done`
      if (!ranges.empty() && ranges.back().to == to && ranges.back().high + 1 == byte) {
        ranges.back().high = static_cast<uint8_t>(byte);
      } else {
        ranges.push_back({static_cast<uint8_t>(byte), static_cast<uint8_t>(byte), to});
      }
    }
    add_lead_ranges(ranges, lead);
    rule.at(static_cast<int32_t>(read)).ranges = std::move(ranges);
  }
  return rule;
}

RuleDfa any_value_rule() {
  Nfa nfa;
  const int32_t end = nfa.add_state();
  for (const int32_t rule :
       {int32_t{kStringRule}, int32_t{kNumberRule}, int32_t{kAnyObjectRule}, int32_t{kAnyArrayRule}}) {
    nfa.add_free(nfa.add_call(0, rule), end);
  }
  for (const std::string_view word : {"true", "false", "null"}) nfa.add_free(nfa.add_text(0, word), end);
  return *determinize(nfa, end);
}

// "{" members "}", members written out because their rule would be one more to share.
RuleDfa any_object_rule() {
  Nfa nfa;
  const int32_t open = nfa.add_call(nfa.add_text(0, "{"), kSpaceRule);
  const int32_t member = nfa.add_state();
  nfa.add_free(open, member);
  int32_t at = nfa.add_call(member, kStringRule);
  at = nfa.add_call(nfa.add_text(at, ":"), kSpaceRule);
  at = nfa.add_call(nfa.add_call(at, kAnyValueRule), kSpaceRule);
  nfa.add_free(nfa.add_call(nfa.add_text(at, ","), kSpaceRule), member);
  const int32_t close = nfa.add_state();
  nfa.add_free(open, close);
  nfa.add_free(at, close);
  return *determinize(nfa, nfa.add_text(close, "}"));
}

}  // namespace

RuleDfa list_rule(char open, int32_t item_rule, char close, uint32_t min_count, uint32_t max_count) {
  RuleDfa rule;
  rule.min_count = min_count;
  rule.max_count = max_count;
  const int32_t start = rule.add_state();
  const int32_t opened = rule.add_state();
  const int32_t first = rule.add_state();
  const int32_t item = rule.add_state();
  const int32_t spaced = rule.add_state();
  const int32_t comma = rule.add_state();
  const int32_t next = rule.add_state();
  const int32_t done = rule.add_state();
  const auto byte = [](char c, int32_t to) {
    return RuleDfa::Range{static_cast<uint8_t>(c), static_cast<uint8_t>(c), to};
  };
  rule.at(start).ranges = {byte(open, opened)};
  rule.at(opened).calls = {{kSpaceRule, first}};
  if (min_count == 0) rule.at(first).ranges = {byte(close, done)};
  if (max_count > 0) rule.at(first).calls = {{item_rule, item}};
  rule.at(item).counts = true;
  rule.at(item).calls = {{kSpaceRule, spaced}};
  rule.at(spaced).ranges = {byte(',', comma), byte(close, done)};
  rule.at(comma).below_max = true;
  rule.at(comma).calls = {{kSpaceRule, next}};
  rule.at(next).calls = {{item_rule, item}};
  rule.at(done).from_min = true;
  rule.at(done).accepts = true;
  return rule;
}

RuleDfa bounded_string_rule(uint32_t min_count, uint32_t max_count) {
  RuleDfa rule;
  rule.min_count = min_count;
  rule.max_count = max_count;
  const int32_t start = rule.add_state();
  const int32_t opened = rule.add_state();
  const int32_t more = rule.add_state();  // a character was read
  const int32_t done = rule.add_state();
  const int32_t escape = rule.add_state();
  const int32_t hex1 = rule.add_state();
  const int32_t hex2 = rule.add_state();
  const int32_t hex2_low = rule.add_state();  // behind D: no surrogates
  const int32_t hex3 = rule.add_state();
  const int32_t hex4 = rule.add_state();
  const LeadBytes lead = add_continuations(rule, more);
  rule.at(start).ranges = {{'"', '"', opened}};
  for (const int32_t state : {opened, more}) {
    std::vector<RuleDfa::Range> ranges = {
        {0x20, 0x21, more}, {'"', '"', done}, {0x23, 0x5B, more}, {'\\', '\\', escape}, {0x5D, 0x7F, more}};
    add_lead_ranges(ranges, lead);
    rule.at(state).ranges = std::move(ranges);
  }
  rule.at(escape).ranges = {{'"', '"', more}, {'/', '/', more}, {'\\', '\\', more}, {'b', 'b', more}, {'f', 'f', more},
                            {'n', 'n', more}, {'r', 'r', more}, {'t', 't', more},   {'u', 'u', hex1}};
  rule.at(hex1).ranges = {{'0', '9', hex2}, {'A', 'C', hex2},     {'D', 'D', hex2_low}, {'E', 'F', hex2},
                          {'a', 'c', hex2}, {'d', 'd', hex2_low}, {'e', 'f', hex2}};
  rule.at(hex2).ranges = {{'0', '9', hex3}, {'A', 'F', hex3}, {'a', 'f', hex3}};
  rule.at(hex2_low).ranges = {{'0', '7', hex3}};
  rule.at(hex3).ranges = {{'0', '9', hex4}, {'A', 'F', hex4}, {'a', 'f', hex4}};
  rule.at(hex4).ranges = {{'0', '9', more}, {'A', 'F', more}, {'a', 'f', more}};
  // Whatever begins a character needs room for it; where one is complete it counts.
  for (RuleDfa::State& state : rule.states) state.below_max = true;
  rule.at(start).below_max = rule.at(opened).below_max = rule.at(done).below_max = false;
  rule.at(more).counts = true;
  rule.at(done).from_min = true;
  rule.at(done).accepts = true;
  return rule;
}

RuleSet::RuleSet() {
  rules.resize(kNumSharedRules);
  set(kSpaceRule, space_rule());
  set(kStringRule,
      regex_rule(R"("([^"\\\x00-\x1f]|\\(["\\/bfnrt]|u([0-9a-cA-Ce-fE-F][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2})))*")"));
  set(kNumberRule, regex_rule(R"(-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+-]?[0-9]{1,2})?)"));
  set(kIntegerRule, regex_rule(R"(-?(0|[1-9][0-9]{0,17}))"));
  set(kToolTextRule, text_before("</arg_value>"));
  set(kAnyValueRule, any_value_rule());
  set(kAnyObjectRule, any_object_rule());
  set(kAnyArrayRule, list_rule('[', kAnyValueRule, ']', 0, RuleDfa::kUnbounded));
}

}  // namespace glimpse
