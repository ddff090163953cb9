#include "grammar/vocabulary.h"

#include <algorithm>

namespace glimpse {

std::shared_ptr<const Vocabulary> Vocabulary::make(std::span<const std::string_view> tokens) {
  auto made = std::make_shared<Vocabulary>();
  made->begins_.reserve(tokens.size() + 1);
  made->begins_.push_back(0);
  for (const std::string_view token : tokens) {
    made->text_ += token.substr(0, kMaxTokenBytes);
    made->begins_.push_back(static_cast<uint32_t>(made->text_.size()));
    made->longest_ = std::max(made->longest_, std::min(token.size(), kMaxTokenBytes));
  }
  // In the order of their bytes, tokens that share a beginning stand together and a prefix stands before what it
  // begins.
  std::vector<int32_t> order;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!tokens[i].empty() && tokens[i].size() <= kMaxTokenBytes) order.push_back(static_cast<int32_t>(i));
  }
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int compared = tokens[static_cast<size_t>(a)].compare(tokens[static_cast<size_t>(b)]);
    return compared != 0 ? compared < 0 : a < b;
  });
  std::vector<Node>& nodes = made->nodes_;
  nodes.push_back({});
  std::vector<uint32_t> path{0};  // the nodes from the root to the last token's end
  std::string_view last;
  const auto close = [&](size_t depth) {
    while (path.size() > depth + 1) {
      nodes[path.back()].end = static_cast<uint32_t>(nodes.size());
      path.pop_back();
    }
  };
  for (const int32_t id : order) {
    const std::string_view token = made->bytes(id);
    const auto shared =
        static_cast<size_t>(std::mismatch(last.begin(), last.end(), token.begin(), token.end()).first - last.begin());
    close(shared);
    for (size_t depth = shared; depth < token.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes.size()));
      nodes.push_back({.byte = static_cast<uint8_t>(token[depth]),
                       .depth = static_cast<uint16_t>(depth + 1),
                       .end = 0,
                       .first_id = static_cast<uint32_t>(made->ids_.size()),
                       .num_ids = 0});
    }
    ++nodes[path.back()].num_ids;
    made->ids_.push_back(id);
    last = token;
  }
  close(0);
  nodes[0].end = static_cast<uint32_t>(nodes.size());
  return made;
}

}  // namespace glimpse
