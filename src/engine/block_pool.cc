#include "engine/block_pool.h"

#include <bit>

#include "base/check.h"

namespace glimpse {

BlockPool::BlockPool(int32_t num_blocks, int32_t block_size) : block_size_(block_size) {
  CHECK(num_blocks > 0 && block_size > 0, num_blocks, block_size);
  blocks_.resize(static_cast<size_t>(num_blocks));
  buckets_.assign(std::bit_ceil(blocks_.size()), -1);
  for (int32_t b = 0; b < num_blocks; ++b) link(b, false);
}

int32_t BlockPool::allocate() {
  const int32_t block = front_;
  if (block < 0) return -1;
  unlink(block);
  forget(block);
  at(block).references = 1;
  return block;
}

int32_t BlockPool::find(const BlockHash& hash) const {
  int32_t block = buckets_[bucket(hash)];
  while (block >= 0 && at(block).hash != hash) block = at(block).next_in_bucket;
  return block;
}

void BlockPool::ref(int32_t block) {
  if (at(block).references++ == 0) unlink(block);
}

void BlockPool::unref(std::span<const int32_t> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) {
    Block& block = at(blocks[i]);
    CHECK(block.references > 0, blocks[i]);
    if (--block.references == 0) link(blocks[i], !block.has_hash);
  }
}

void BlockPool::publish(int32_t block, const BlockHash& hash) {
  CHECK(at(block).references > 0, block);
  if (at(block).has_hash) {
    CHECK(at(block).hash == hash, block);
    return;
  }
  if (find(hash) >= 0) return;
  at(block).has_hash = true;
  at(block).hash = hash;
  at(block).next_in_bucket = std::exchange(buckets_[bucket(hash)], block);
}

void BlockPool::link(int32_t block, bool front) {
  Block& b = at(block);
  b.previous = front ? -1 : back_;
  b.next = front ? front_ : -1;
  (b.previous < 0 ? front_ : at(b.previous).next) = block;
  (b.next < 0 ? back_ : at(b.next).previous) = block;
  ++num_free_;
  if (b.has_hash) ++num_cached_;
}

void BlockPool::unlink(int32_t block) {
  Block& b = at(block);
  (b.previous < 0 ? front_ : at(b.previous).next) = b.next;
  (b.next < 0 ? back_ : at(b.next).previous) = b.previous;
  --num_free_;
  if (b.has_hash) --num_cached_;
}

void BlockPool::forget(int32_t block) {
  if (!at(block).has_hash) return;
  int32_t* link = &buckets_[bucket(at(block).hash)];
  while (*link != block) link = &at(*link).next_in_bucket;
  *link = at(block).next_in_bucket;
  at(block).has_hash = false;
}

void BlockPool::check_integrity(std::span<const int32_t> held) const {
  CHECK(held.size() == blocks_.size(), held.size(), blocks_.size());
  int32_t free = 0, cached = 0, hashed = 0;
  for (size_t b = 0; b < blocks_.size(); ++b) {
    const Block& block = blocks_[b];
    CHECK(block.references == held[b], b, block.references, held[b]);
    free += static_cast<int32_t>(block.references == 0);
    cached += static_cast<int32_t>(block.references == 0 && block.has_hash);
    hashed += static_cast<int32_t>(block.has_hash);
    if (block.has_hash) CHECK(find(block.hash) == static_cast<int32_t>(b), b);
  }
  CHECK(free == num_free_ && cached == num_cached_, free, num_free_, cached, num_cached_);
  int32_t listed = 0, previous = -1;
  for (int32_t b = front_; b >= 0; previous = b, b = at(b).next, ++listed) {
    CHECK(at(b).references == 0 && at(b).previous == previous, b, previous);
  }
  CHECK(listed == num_free_ && previous == back_, listed, num_free_);
  int32_t in_table = 0;
  for (const int32_t first : buckets_) {
    for (int32_t b = first; b >= 0; b = at(b).next_in_bucket) ++in_table;
  }
  CHECK(in_table == hashed, in_table, hashed);
}

}  // namespace glimpse
