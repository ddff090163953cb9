#pragma once

// Pre-tokenisation: text cut into the pieces ("words") that BPE never merges across.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glimpse {

// Cuts a text into consecutive pieces that together are the text. Immutable; one object may serve many threads.
class Splitter {
 public:
  virtual ~Splitter() = default;

  // Sets `ends` to the end offset of each piece, ascending, the last being text.size(); empty for an empty text.
  // Bytes that are not UTF-8 belong to no class: neither letter, number nor space.
  // Errors: kInvalidArgument, where a regular expression ran over its step limit on this text.
  virtual Status split(std::string_view text, std::vector<size_t>& ends) const = 0;
};

// The splitter of a tokenizer.json "Split" pattern: hand-written for the pattern of the GLM-4 family and its usual
// other spellings (which the regular expression library takes ten times as long for), a regular expression for
// everything else. Errors: kUnsupported or kInvalidData with the pattern's fault.
Result<std::unique_ptr<Splitter>> make_splitter(std::string_view pattern);

// The same through the regular expression library whatever the pattern: what the hand-written one is tested against.
Result<std::unique_ptr<Splitter>> make_regex_splitter(std::string_view pattern);

// The pattern of a "ByteLevel" pre-tokenizer with use_regex (GPT-2).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The GLM-4 family's pattern (glm-v.md 7.1).
constexpr std::string_view kGlmPattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

}  // namespace glimpse
