#pragma once

// How the decode kernel divides its work (attention_decode.cu): runs of units, cut into pieces. Read on the device, by
// every warp for itself.

#include <cuda_bf16.h>

#include <cstdint>

#include "kernels/cuda/kv_layout.h"

namespace glimpse::cuda::decode {

constexpr int kRows = 16;  // of a tile of queries
// Contexts of up to this many KV blocks a thread block stay within one cluster: merging in shared memory is quicker
// than through global memory.
constexpr int kBlocksAlone = 16;

// What the kernel is launched with.
struct Constants {
  const int32_t* num_seqs;
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks;
  int32_t num_kv_heads;
  int32_t group;
  int32_t seqs_capacity;
  int32_t max_queries;
  int32_t runs;
  float scale_log2;
  const __nv_bfloat16* q;
  int64_t q_stride;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  void* out;
  int64_t out_stride;
  bool out_f32;
  void* parts;         // [2 * runs]
  uint32_t* counters;  // [2 * runs][cluster]
};

// A piece of work: blocks [first_block, first_block + num_blocks) of one pair.
struct Piece {
  int32_t seq;
  int32_t first_token;  // of the sequence, row of q
  int32_t queries;
  int32_t context;
  int32_t row_tile;
  int32_t kv_head;
  int32_t first_block, num_blocks;
  int32_t pair_begin, pair_blocks;  // first unit of the whole pair, and how many
};

// A lane's sequence. The arrays have entries for the whole capacity, so they are read beside the count, not after it.
struct Extent {
  int32_t begin = 0, queries = 0, context = 0, blocks = 0, units = 0;

  __device__ __forceinline__ Extent(const Constants& c, int32_t s) {
    if (s >= c.seqs_capacity) return;
    const int32_t num_seqs = *c.num_seqs;
    begin = c.cu_seqlens[s];
    const int32_t end = c.cu_seqlens[s + 1];
    context = c.context_lens[s];
    blocks = max(1, (context + kKvBlockSize - 1) / kKvBlockSize);  // one to write zeros when there is nothing
    queries = s < num_seqs && end - begin <= c.max_queries ? end - begin : 0;
    units = (queries * c.group + kRows - 1) / kRows * c.num_kv_heads * blocks;
  }
};

// How the row of units is cut. By all lanes of a warp; `mine` is the extent of sequence `lane`.
struct Plan {
  int32_t units, run_units;

  __device__ __forceinline__ Plan(const Constants& c, const Extent& mine, int32_t cluster) {
    int32_t sum = mine.units;
    int32_t longest = mine.units > 0 ? mine.blocks : 0;
    for (int32_t s = 32; s < c.seqs_capacity; s += 32) {
      const Extent other(c, s + static_cast<int32_t>(threadIdx.x % 32));
      sum += other.units;
      if (other.units > 0) longest = max(longest, other.blocks);
    }
    units = __reduce_add_sync(0xffffffff, sum);
    longest = __reduce_max_sync(0xffffffff, longest);
    run_units = max((units + c.runs - 1) / c.runs, 1);
    // Whole pairs where that costs little: a short context is quicker in one cluster, and equal contexts then have no
    // part that is shared.
    if (longest <= max(cluster * kBlocksAlone, run_units + run_units / 4)) run_units = max(run_units, longest);
  }
};

// The piece that begins at `unit` and ends at `end` or its pair's end. By all lanes of a warp; unit is in range.
__device__ __forceinline__ Piece find_piece(const Constants& c, const Extent& mine, int32_t unit, int32_t end) {
  const auto lane = static_cast<int32_t>(threadIdx.x % 32);
  Extent extent = mine;
  int32_t passed = 0;
  for (int32_t first = 0;; first += 32) {
    if (first > 0) extent = Extent(c, first + lane);
    int32_t before = extent.units;  // inclusive sums
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int32_t other = __shfl_up_sync(0xffffffff, before, step);
      if (lane >= step) before += other;
    }
    const unsigned found = __ballot_sync(0xffffffff, unit < passed + before);
    if (found == 0) {
      passed += __shfl_sync(0xffffffff, before, 31);
      continue;
    }
    const int who = __ffs(static_cast<int>(found)) - 1;
    Piece piece;
    piece.seq = first + who;
    piece.first_token = __shfl_sync(0xffffffff, extent.begin, who);
    piece.queries = __shfl_sync(0xffffffff, extent.queries, who);
    piece.context = __shfl_sync(0xffffffff, extent.context, who);
    piece.pair_blocks = __shfl_sync(0xffffffff, extent.blocks, who);
    const int32_t at = unit - passed - __shfl_sync(0xffffffff, before - extent.units, who);
    const int32_t pair = at / piece.pair_blocks;
    piece.kv_head = pair % c.num_kv_heads;
    piece.row_tile = pair / c.num_kv_heads;
    piece.first_block = at - pair * piece.pair_blocks;
    piece.pair_begin = unit - piece.first_block;
    piece.num_blocks = min(end - unit, piece.pair_blocks - piece.first_block);
    return piece;
  }
}

}  // namespace glimpse::cuda::decode
