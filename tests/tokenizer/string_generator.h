#pragma once

// Strings to tokenise, the same ones in C++ and in python/reference/tokenizer_strings.py: change both or neither.

#include <cstdint>
#include <string>
#include <vector>

#include "tokenizer/unicode.h"

namespace glimpse {

class StringGenerator {
 public:
  // `fragments`: words, signs, spaces, code, spelled tokens: tests/tokenizer/fragments.json.
  StringGenerator(std::vector<std::string> fragments, bool only_fragments)
      : fragments_(std::move(fragments)), only_fragments_(only_fragments) {}

  // The index-th string of a seed: up to 12 fragments, single code points of all planes and repetitions.
  std::string make(uint64_t seed, uint64_t index) {
    state_ = seed * 0x9E3779B97F4A7C15 + index;
    draw(1);
    draw(1);
    std::string text;
    const uint64_t parts = 1 + draw(12);
    for (uint64_t i = 0; i < parts; ++i) {
      const uint64_t kind = draw(100);
      if (kind < 70 || only_fragments_) {
        text += fragment();
      } else if (kind < 92) {
        append_utf8(text, code_point());
      } else {
        const std::string& repeated = fragment();
        for (uint64_t count = 1 + draw(8); count > 0; --count) text += repeated;
      }
      if (draw(3) == 0) text += ' ';
    }
    return text;
  }

 private:
  uint64_t draw(uint64_t below) {
    state_ = state_ * 6364136223846793005 + 1442695040888963407;
    return (state_ >> 33) % below;
  }
  const std::string& fragment() { return fragments_[draw(fragments_.size())]; }
  uint32_t code_point() {
    static constexpr uint32_t kRanges[][2] = {
        {0x20, 0x7E},     {0x00, 0x1F},     {0x7F, 0x24F},    {0x2B0, 0x36F},     {0x370, 0x52F},   {0x590, 0x97F},
        {0xE00, 0xEFF},   {0x1680, 0x180F}, {0x2000, 0x206F}, {0x2070, 0x218F},   {0x3000, 0x30FF}, {0x4E00, 0x9FFF},
        {0xAC00, 0xD7A3}, {0xFE00, 0xFEFF}, {0xFF00, 0xFFEF}, {0x1F300, 0x1FAFF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF},
    };
    const auto& range = kRanges[draw(std::size(kRanges))];
    return range[0] + static_cast<uint32_t>(draw(range[1] - range[0] + 1));
  }

  std::vector<std::string> fragments_;
  bool only_fragments_;
  uint64_t state_ = 0;
};

// FNV-1a over the ids' bytes, little-endian; continues from `hash`.
constexpr uint64_t kFnvBasis = 0xCBF29CE484222325;
template <typename Ids>
uint64_t hash_ids(const Ids& ids, uint64_t hash) {
  for (const int32_t id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (static_cast<uint32_t>(id) >> shift & 0xFF)) * 0x100000001B3;
    }
  }
  return hash;
}

}  // namespace glimpse
