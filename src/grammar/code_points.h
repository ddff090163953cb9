#pragma once

// Sets of Unicode code points and their UTF-8 as automata.

#include <cstdint>
#include <utility>
#include <vector>

#include "grammar/nfa.h"

namespace glimpse {

// Ascending, disjoint, not touching. Surrogates are never members.
class CodePointSet {
 public:
  CodePointSet() = default;
  static CodePointSet all();
  static CodePointSet of(uint32_t low, uint32_t high);

  void add(uint32_t low, uint32_t high);
  void add(const CodePointSet& other);
  void remove(uint32_t low, uint32_t high);
  CodePointSet complement() const;
  bool contains(uint32_t code_point) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<std::pair<uint32_t, uint32_t>>& ranges() const { return ranges_; }

 private:
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

// Edges from `from` to `to` that read one character of the set as UTF-8.
void add_utf8(Nfa& nfa, int32_t from, const CodePointSet& set, int32_t to);
// The same inside a JSON string: quotes, backslashes and control characters in their short escaped form (\u00XX where
// there is none).
void add_json_escaped(Nfa& nfa, int32_t from, const CodePointSet& set, int32_t to);

}  // namespace glimpse
