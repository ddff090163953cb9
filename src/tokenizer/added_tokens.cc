#include "tokenizer/added_tokens.h"

#include "base/check.h"

namespace glimpse {

void AddedTokenMatcher::add(std::string_view content, int32_t id) {
  CHECK(!content.empty());
  const auto new_node = [this](uint8_t byte) {
    nodes_.push_back(Node{.byte = byte});
    return static_cast<uint32_t>(nodes_.size() - 1);
  };
  int32_t& root = roots_[static_cast<uint8_t>(content[0])];
  if (root < 0) root = static_cast<int32_t>(new_node(static_cast<uint8_t>(content[0])));
  auto node = static_cast<uint32_t>(root);
  for (const char c : content.substr(1)) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t child = nodes_[node].first_child;
    while (child != 0 && nodes_[child].byte != byte) child = nodes_[child].next_sibling;
    if (child == 0) {
      child = new_node(byte);
      nodes_[child].next_sibling = nodes_[node].first_child;
      nodes_[node].first_child = child;
    }
    node = child;
  }
  nodes_[node].id = id;
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::find(std::string_view text, size_t begin) const {
  for (size_t start = begin; start < text.size(); ++start) {
    const int32_t root = roots_[static_cast<uint8_t>(text[start])];
    if (root < 0) continue;
    std::optional<Match> longest;
    auto node = static_cast<uint32_t>(root);
    for (size_t at = start + 1;; ++at) {
      if (nodes_[node].id >= 0) longest = Match{start, at, nodes_[node].id};
      if (at == text.size()) break;
      uint32_t child = nodes_[node].first_child;
      while (child != 0 && nodes_[child].byte != static_cast<uint8_t>(text[at])) child = nodes_[child].next_sibling;
      if (child == 0) break;
      node = child;
    }
    if (longest) return longest;
  }
  return std::nullopt;
}

}  // namespace glimpse
