#pragma once

// A tokenizer's tokens as a tree of bytes, by the model's ids: what constrained decoding walks.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "grammar/mask_cache.h"

namespace glimpse {

// Immutable after make(), but for the cache of what grammars have in common.
class Vocabulary {
 public:
  // tokens[i]: the bytes of model id i; empty for ids that must never be drawn under a constraint (no token, special).
  static std::shared_ptr<const Vocabulary> make(std::span<const std::string_view> tokens);

  // Nodes in depth-first order, node 0 is the root. The children of a node follow it; `end` is one past its last
  // descendant, so a subtree is skipped by going there.
  struct Node {
    uint8_t byte = 0;
    uint16_t depth = 0;
    uint32_t end = 0;
    uint32_t first_id = 0;  // ids()[first_id, first_id + num_ids): the tokens that end here
    uint32_t num_ids = 0;
  };
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const int32_t> ids() const { return ids_; }
  std::string_view bytes(int32_t id) const {
    return std::string_view(text_).substr(begins_[static_cast<size_t>(id)],
                                          begins_[static_cast<size_t>(id) + 1] - begins_[static_cast<size_t>(id)]);
  }
  size_t size() const { return begins_.size() - 1; }
  size_t num_words() const { return (size() + 63) / 64; }  // of a mask
  size_t longest() const { return longest_; }  // bytes, at most kMaxTokenBytes: longer ones are never allowed
  static constexpr size_t kMaxTokenBytes = 1024;

  MaskCache& shared_masks() const { return shared_masks_; }

 private:
  std::string text_;
  std::vector<uint32_t> begins_;
  std::vector<Node> nodes_;
  std::vector<int32_t> ids_;
  size_t longest_ = 0;
  mutable MaskCache shared_masks_;
};

}  // namespace glimpse
