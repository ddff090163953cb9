#pragma once

// Names of KV blocks' contents: a chain of SHA-256 over everything that the keys and values of a block depend on.
// Clients choose the tokens and the pictures, so the hash has to be one that they cannot collide; at 0.3 us a block it
// costs less than comparing what a weaker one would find.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "engine/request.h"

namespace glimpse {

struct BlockHash {
  std::array<uint64_t, 4> words{};
  bool operator==(const BlockHash&) const = default;
};

// The tokens [begin, end) of a sequence that one picture stands for.
struct ImageSpan {
  int32_t begin = 0;
  int32_t end = 0;
  ImageKey key;
  GridThw grid;
};

// Not thread-safe; cheap to make.
class BlockHasher {
 public:
  BlockHasher();
  ~BlockHasher();
  BlockHasher(const BlockHasher&) = delete;
  BlockHasher& operator=(const BlockHasher&) = delete;

  // The beginning of a chain. `model` names everything that is the same for all requests (model id, processor options,
  // rope parameters, dtypes); requests with different salts share nothing.
  BlockHash seed(std::string_view model, std::string_view salt);
  // The block behind `previous`: its token ids, of which the first is token `first` of the sequence. Where tokens stand
  // for a picture, its SHA-256, its grid and the place in it count as well; positions follow from both.
  BlockHash next(const BlockHash& previous, std::span<const int32_t> token_ids, int32_t first,
                 std::span<const ImageSpan> images);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Appends the hashes of all full blocks of `token_ids` that `hashes` does not have yet, without allocating beyond its
// capacity. The block after the last one in `hashes` (or after `seed`) comes first.
void extend_hashes(BlockHasher& hasher, const BlockHash& seed, std::span<const int32_t> token_ids, int32_t block_size,
                   std::span<const ImageSpan> images, std::vector<BlockHash>& hashes);

}  // namespace glimpse
