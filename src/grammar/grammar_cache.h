#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "grammar/constraint.h"

namespace glimpse {

class Grammar;

// Errors: as GrammarCache::get.
Result<std::shared_ptr<const Grammar>> compile(const Constraint& constraint);

// Compiled constraints by their key, the most recently used kept. Agents send the same schema with every request; with
// the grammar, the masks worked out for it are kept too. May be used from several threads.
class GrammarCache {
 public:
  explicit GrammarCache(size_t max_entries = 32) : max_entries_(max_entries) {}

  // Errors: kInvalidArgument (malformed, recursive without end), kUnsupported (a keyword, named) or kTooLarge.
  Result<std::shared_ptr<const Grammar>> get(const Constraint& constraint);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const Grammar> grammar;
  };
  size_t max_entries_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // the last used first
};

}  // namespace glimpse
