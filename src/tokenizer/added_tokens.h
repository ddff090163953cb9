#pragma once

// The strings of tokenizer.json's "added_tokens": found in text as they stand, before anything else looks at it.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace glimpse {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
  bool normalized = false;  // matched after the tokens that are not, and after the normalizer
};

// Finds added tokens: leftmost first, and at one place the longest (as the `tokenizers` library does).
// A trie over bytes; find() costs at most (bytes skipped) x (longest token), in practice one table look-up a byte.
class AddedTokenMatcher {
 public:
  struct Match {
    size_t begin;
    size_t end;
    int32_t id;
  };

  void add(std::string_view content, int32_t id);
  bool empty() const { return nodes_.empty(); }

  // The first match that lies wholly in [begin, text.size()) of `text`.
  std::optional<Match> find(std::string_view text, size_t begin) const;

 private:
  struct Node {
    uint8_t byte = 0;
    int32_t id = -1;            // of the token that ends here, -1 if none does
    uint32_t first_child = 0;   // index into nodes_, 0 for none: roots are never children
    uint32_t next_sibling = 0;  // likewise
  };
  std::vector<Node> nodes_;
  std::array<int32_t, 256> roots_ = make_roots();  // node of each first byte, -1 for none

  static constexpr std::array<int32_t, 256> make_roots() {
    std::array<int32_t, 256> roots{};
    roots.fill(-1);
    return roots;
  }
};

}  // namespace glimpse
