#pragma once

// What the attention kernels share: which queries a block has, and small arithmetic.

#include <cuda_bf16.h>

#include <cstdint>

namespace glimpse::cuda {

// The queries of one block: consecutive tokens of one sequence. num_tokens == 0: the block has nothing to do.
struct QueryTile {
  int32_t seq = 0;
  int32_t first_token = 0;  // row of q
  int32_t num_tokens = 0;
  int32_t num_keys = 0;       // seen by the last of them; 0: by none
  int32_t first_visible = 0;  // keys seen by the first of them (may be negative); the next sees one more. Paged only.
  int32_t first_key = 0;      // row of the first key. Varlen only.
};

// The tile of a block, counting tiles of `per_tile` tokens through the sequences that have min..max queries; a paged
// sequence's tiles from last to first, as the last have the most to do. By all lanes of a warp.
template <bool kPaged>
__device__ __forceinline__ QueryTile find_query_tile(const int32_t* cu_seqlens, const int32_t* context_lens,
                                                     int32_t num_seqs, int32_t min_queries, int32_t max_queries,
                                                     int32_t per_tile, int32_t index) {
  const auto lane = static_cast<int32_t>(threadIdx.x % 32);
  for (int32_t first = 0; first < num_seqs; first += 32) {
    const int32_t s = first + lane;
    const int32_t begin = s < num_seqs ? cu_seqlens[s] : 0;
    const int32_t end = s < num_seqs ? cu_seqlens[s + 1] : 0;
    const bool mine = end - begin >= min_queries && end - begin <= max_queries;
    const int32_t tiles = mine ? (end - begin + per_tile - 1) / per_tile : 0;
    int32_t before = tiles;  // inclusive sums over the lanes
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int32_t other = __shfl_up_sync(0xffffffff, before, step);
      if (lane >= step) before += other;
    }
    const unsigned found = __ballot_sync(0xffffffff, index < before);
    if (found == 0) {
      index -= __shfl_sync(0xffffffff, before, 31);
      continue;
    }
    const int who = __ffs(static_cast<int>(found)) - 1;
    QueryTile tile;
    tile.seq = first + who;
    const int32_t its_tiles = __shfl_sync(0xffffffff, tiles, who);
    const int32_t its_begin = __shfl_sync(0xffffffff, begin, who);
    const int32_t its_end = __shfl_sync(0xffffffff, end, who);
    int32_t at = index - (__shfl_sync(0xffffffff, before, who) - its_tiles);
    if constexpr (kPaged) at = its_tiles - 1 - at;
    tile.first_token = its_begin + at * per_tile;
    tile.num_tokens = min(per_tile, its_end - tile.first_token);
    if constexpr (kPaged) {
      tile.first_visible = context_lens[tile.seq] - (its_end - 1 - tile.first_token);
      tile.num_keys = max(0, tile.first_visible + tile.num_tokens - 1);
    } else {
      tile.first_key = its_begin;
      tile.num_keys = its_end - its_begin;
    }
    return tile;
  }
  return {};
}

__device__ __forceinline__ float power_of_two(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two values rounded to nearest, the first in the lower half.
__device__ __forceinline__ uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

}  // namespace glimpse::cuda
