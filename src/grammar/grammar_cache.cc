#include "grammar/grammar_cache.h"

namespace glimpse {

class Grammar {};

Result<std::shared_ptr<const Grammar>> GrammarCache::get(const Constraint& constraint) {
  (void)constraint;
  return Error{ErrorCode::kUnsupported, "constrained answers are not supported yet"};
}

}  // namespace glimpse
