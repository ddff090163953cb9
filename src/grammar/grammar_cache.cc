#include "grammar/grammar_cache.h"

#include "grammar/grammar.h"
#include "grammar/regex.h"
#include "grammar/schema_grammar.h"
#include "grammar/tool_grammar.h"

namespace glimpse {

namespace {

// A rule of one piece, without calls.
template <typename Add>
Result<int32_t> add_plain(RuleSet& set, Add&& add) {
  Nfa nfa;
  ASSIGN_OR_RETURN(const int32_t end, add(nfa));
  ASSIGN_OR_RETURN(RuleDfa rule, determinize(nfa, end));
  return set.add(std::move(rule));
}

Result<int32_t> add_root(RuleSet& set, const Constraint& constraint) {
  switch (constraint.kind) {
    case Constraint::Kind::kJsonObject:
      return int32_t{kAnyObjectRule};
    case Constraint::Kind::kJsonSchema:
      return add_schema_rule(set, constraint.schema);
    case Constraint::Kind::kRegex:
      return add_plain(
          set, [&](Nfa& nfa) { return add_regex(nfa, 0, constraint.text, RegexText::kPlain, RegexAnchors::kImplied); });
    case Constraint::Kind::kChoice:
      return add_plain(set, [&](Nfa& nfa) { return Result<int32_t>(nfa.add_texts(0, constraint.choices)); });
    case Constraint::Kind::kToolCalls:
      return add_tool_calls_rule(set, constraint.tools, constraint.several);
  }
  return Error{ErrorCode::kUnsupported, "this form of answer is not supported"};
}

}  // namespace

Result<std::shared_ptr<const Grammar>> compile(const Constraint& constraint) {
  RuleSet set;
  ASSIGN_OR_RETURN(const int32_t root, add_root(set, constraint));
  return Grammar::make(std::move(set.rules), root, kNumSharedRules);
}

Result<std::shared_ptr<const Grammar>> GrammarCache::get(const Constraint& constraint) {
  std::string key = constraint.key();
  {
    const std::lock_guard lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (entry->key != key) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      return entry->grammar;
    }
  }
  ASSIGN_OR_RETURN(std::shared_ptr<const Grammar> made, compile(constraint));
  const std::lock_guard lock(mutex_);
  entries_.push_front({std::move(key), made});
  if (entries_.size() > max_entries_) entries_.pop_back();
  return made;
}

}  // namespace glimpse
