#pragma once

#include <algorithm>
#include <string_view>

namespace glimpse {

// How many bytes at the end of text could be the beginning of the tag.
inline size_t partial_tag(std::string_view text, std::string_view tag) {
  for (size_t size = std::min(text.size(), tag.size() - 1); size > 0; --size) {
    if (tag.starts_with(text.substr(text.size() - size))) return size;
  }
  return 0;
}

}  // namespace glimpse
