#pragma once

#include <cstdint>
#include <span>

namespace glimpse {

// Which tokens may come next: constrained decoding. One sequence owns it; called by the engine's thread only.
class TokenMask {
 public:
  virtual ~TokenMask() = default;
  // Bit i % 64 of word i / 64 is set when token i may come next; at least one bit is set. Stop tokens are allowed
  // exactly where the text may end. Valid until the next accept(). An empty span allows everything.
  virtual std::span<const uint64_t> allowed() = 0;
  // The token that was drawn. It was allowed.
  virtual void accept(int32_t token_id) = 0;
};

}  // namespace glimpse
