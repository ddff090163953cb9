#pragma once

// Which KV blocks exist, who holds them, and what those nobody holds still contain: counting and hashing only, no
// memory. Blocks are reference-counted; a block that no sequence holds keeps its content under its hash until it is the
// least recently used one and somebody needs a block. Nothing here allocates after construction.

#include <cstdint>
#include <span>
#include <vector>

#include "engine/block_hash.h"

namespace glimpse {

class BlockPool {
 public:
  BlockPool(int32_t num_blocks, int32_t block_size);

  int32_t num_blocks() const { return static_cast<int32_t>(blocks_.size()); }
  int32_t block_size() const { return block_size_; }
  // Held by nobody: allocate() succeeds that many times. num_cached() of them still hold a prefix.
  int32_t num_free() const { return num_free_; }
  int32_t num_cached() const { return num_cached_; }

  // A block with one reference and no content, or -1 when all are held. Forgets the least recently used content.
  int32_t allocate();
  // The block with this content, or -1; looking takes no reference.
  int32_t find(const BlockHash& hash) const;
  bool is_free(int32_t block) const { return at(block).references == 0; }
  void ref(int32_t block);
  // Gives back a sequence's blocks, its last ones to be forgotten first.
  void unref(std::span<const int32_t> blocks);
  // Says that a held block's keys and values are computed. When another block has that content already, the other one
  // stays the one to be found.
  void publish(int32_t block, const BlockHash& hash);

  // CHECKs that counts, lists and the table agree; `held[b]` is how often block b is in the sequences' tables.
  void check_integrity(std::span<const int32_t> held) const;

 private:
  struct Block {
    int32_t references = 0;
    bool has_hash = false;
    BlockHash hash;
    int32_t previous = -1;        // in the list of free blocks
    int32_t next = -1;            // likewise
    int32_t next_in_bucket = -1;  // of the hash table
  };

  const Block& at(int32_t block) const { return blocks_[static_cast<size_t>(block)]; }
  Block& at(int32_t block) { return blocks_[static_cast<size_t>(block)]; }
  size_t bucket(const BlockHash& hash) const { return hash.words[0] & (buckets_.size() - 1); }
  void link(int32_t block, bool front);
  void unlink(int32_t block);
  void forget(int32_t block);

  int32_t block_size_;
  std::vector<Block> blocks_;
  std::vector<int32_t> buckets_;  // first block of each, or -1; a power of two
  int32_t front_ = -1;            // of the free list: taken first
  int32_t back_ = -1;
  int32_t num_free_ = 0;
  int32_t num_cached_ = 0;
};

}  // namespace glimpse
