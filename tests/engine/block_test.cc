// Blocks and their names.

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "engine/block_pool.h"

namespace glimpse {
namespace {

BlockHash hash_of(uint64_t x) {
  return {{x, x + 1, x + 2, x + 3}};
}

TEST(BlockPool, ForgetsTheLeastRecentlyUsedAndTheEndOfASequenceFirst) {
  BlockPool pool(4, 16);
  std::vector<int32_t> blocks;
  for (uint64_t i = 0; i < 4; ++i) {
    blocks.push_back(pool.allocate());
    pool.publish(blocks.back(), hash_of(i));
  }
  EXPECT_EQ(pool.allocate(), -1);
  pool.unref(blocks);
  EXPECT_EQ(pool.num_cached(), 4);
  pool.ref(pool.find(hash_of(3)));  // used again
  pool.unref(std::span(blocks).last(1));
  EXPECT_EQ(pool.allocate(), blocks[2]);
  EXPECT_EQ(pool.find(hash_of(2)), -1);
  EXPECT_EQ(pool.allocate(), blocks[1]);
  EXPECT_EQ(pool.find(hash_of(0)), blocks[0]);
  EXPECT_EQ(pool.find(hash_of(3)), blocks[3]);
  pool.check_integrity(std::vector<int32_t>{0, 1, 1, 0});
}

TEST(BlockPool, TheFirstBlockWithAContentIsTheOneToFind) {
  BlockPool pool(3, 16);
  const int32_t a = pool.allocate();
  const int32_t b = pool.allocate();
  pool.publish(a, hash_of(7));
  pool.publish(b, hash_of(7));
  EXPECT_EQ(pool.find(hash_of(7)), a);
  pool.unref(std::vector<int32_t>{b});
  EXPECT_EQ(pool.num_cached(), 0);  // the copy has no name
  EXPECT_EQ(pool.num_free(), 2);
}

// Whatever two requests differ in (a token, a picture, its grid, its place, the salt, the model) gives other names,
// from the block on where they differ. Pictures' ids are equal, so only the hash can tell them apart.
TEST(BlockHasher, DifferentContentsNeverShareAName) {
  BlockHasher hasher;
  std::mt19937 random(7);
  constexpr int32_t kSize = 8;
  std::set<std::array<uint64_t, 4>> names;
  size_t made = 0;
  const auto pick = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  std::set<std::vector<int32_t>> contents;
  for (int round = 0; round < 20000; ++round) {
    // Few values, so that prompts are nearly equal; a canonical text of each beginning says what it is.
    std::vector<int32_t> ids;
    std::vector<ImageSpan> images;
    const std::string salt = pick(0, 3) == 0 ? "a" : "";
    std::vector<int32_t> canonical = {static_cast<int32_t>(salt.size())};
    std::vector<std::vector<int32_t>> tokens;
    while (ids.size() < 4 * kSize) {
      if (pick(0, 4) == 0) {
        const GridThw grid{1, 2 * pick(1, 3), 2 * pick(1, 3)};
        const int picture = pick(0, 2);
        ImageSpan image{.begin = static_cast<int32_t>(ids.size()), .grid = grid};
        image.key.sha256[31] = static_cast<uint8_t>(picture);
        for (int k = 0; k < grid.num_tokens(2); ++k) {
          ids.push_back(99);
          tokens.push_back({99, picture, grid.h, grid.w, k});
        }
        image.end = static_cast<int32_t>(ids.size());
        images.push_back(image);
      } else {
        ids.push_back(pick(0, 1));
        tokens.push_back({ids.back()});
      }
    }
    std::vector<BlockHash> hashes;
    extend_hashes(hasher, hasher.seed("model", salt), ids, kSize, images, hashes);
    for (size_t b = 0; b < hashes.size(); ++b) {
      for (size_t t = b * kSize; t < (b + 1) * kSize; ++t) {
        canonical.insert(canonical.end(), tokens[t].begin(), tokens[t].end());
        canonical.push_back(-1);
      }
      const bool is_new = contents.insert(canonical).second;
      made += static_cast<size_t>(is_new);
      ASSERT_EQ(names.insert(hashes[b].words).second, is_new) << "round " << round << " block " << b;
    }
  }
  EXPECT_EQ(names.size(), made);
  EXPECT_GT(made, 10000u);
  EXPECT_NE(hasher.seed("ab", "c"), hasher.seed("a", "bc"));
}

}  // namespace
}  // namespace glimpse
