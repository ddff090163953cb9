// Int4 products of up to 16 rows of x: a stream of the weights (i4_layout.h), as fast as memory gives them.
//
// The grid is one CTA per SM, and each owns an equal run of W's rows (of gate/up pairs): no split of K over CTAs. A CTA
// walks its rows in passes of as many as its accumulators hold, mostly one; a pass walks K in chunks of 1,024 columns,
// and a chunk comes in blocks of up to 64 rows: one warp copies a block's values and headers into a ring in shared
// memory with the bulk copy engine, two or four copies a block. A second warp copies x, a chunk at a time, in one copy:
// a copy for each of 16 rows took longer than the weights (down: 19.5 us instead of 16). Eight warps
// wait for both and take one group of 128 columns each, of every row, through mma.sync, W being the 16-row operand and
// rows of x the columns: 1 to 8 rows cost the same. x stays in registers for all blocks of its chunk. At the end of a
// pass the warps' partial sums are added in order.
//
//   W rows ─► [block][block][block] …  ─► warp 0: group 0 of each row ─► acc ┐
//   x rows ─► [chunk][chunk] …         ─► warp 1: group 1             ─► acc ┼─► + in shared memory ─► epilogue
//                                         …                                  ┘
// As in matmul_skinny.cuh the ring of weights is filled before griddepcontrol.wait, and a product's end brings its
// successor's first rows into the second-level cache.
//
// What a warp does between two barriers is a chain of latencies: so no division, no clamped address and no sum over x
// stands inside the loop over tiles, a tile's words are loaded while the tile before is multiplied, and where registers
// allow it two teams of eight warps share the work: they take chunks in turns where a chunk is one block, else the
// tiles of every block.

#include <algorithm>

#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul_skinny_common.cuh"
#include "kernels/cuda/matmul_skinny_i4_tiles.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_map.h"

namespace glimpse::cuda::skinny {

namespace {

constexpr int kTeam = 8;                    // warps that multiply: one per group of a chunk
constexpr int kBlockTiles = 4;              // at most, of 16 rows
constexpr int kXSpan = 64;                  // columns of x that lie together: 128 bytes of each row
constexpr int kXRowBytes = i4::kChunk * 2;  // of a chunk
constexpr uint32_t kSwizzle = 1024;         // bytes after which the copy engine's swizzle repeats
constexpr int kMaxBlocks = 16;              // in the ring of weights
constexpr int kMaxXChunks = 16;             // in the ring of x
constexpr int kSumBytes = 18 << 10;         // of partial sums, about

struct I4Params : ProductParams {
  CUtensorMap x_map;    // spans of 64 columns of all rows
  int32_t chunks;       // of K
  int32_t pass_tiles;   // tiles of a pass
  int32_t block_tiles;  // tiles of a block
  int32_t blocks;       // in the ring
  int32_t block_bytes;
  int32_t x_chunks;   // in the ring of x; all of them: x is brought once
  int32_t sum_shift;  // 2^sum_shift tiles are added up at a time
};

// A place in a ring of `size`, and the parity of the round.
struct Turn {
  int at = 0;
  uint32_t parity = 0;
  __device__ __forceinline__ void advance(int size) {
    if (++at == size) {
      at = 0;
      parity ^= 1;
    }
  }
};

// How the warps of a CTA share the work.
template <int kBlocks, int kCols>
struct Teams {
  static constexpr int kCount = kCols == 1 ? 2 : 1;
  static constexpr bool kByChunk = kBlocks == 1;  // else by tiles
  static constexpr int kMultipliers = kCount * kTeam;
  static constexpr int kThreads = (kMultipliers + 2) * 32;           // one more copies W, one x
  static constexpr int kArrivals = kByChunk ? kTeam : kMultipliers;  // that free a block or a chunk of x
  static constexpr int kPartials = kByChunk ? kMultipliers : kTeam;  // sums of each output
  static constexpr int kTileStep = kByChunk ? 1 : kCount;
};

// Shared memory and the run of units of this CTA.
template <bool kGateUp, bool kZeros>
struct Cta {
  static constexpr int kTileUnits = kGateUp ? 8 : 16;
  static constexpr int kHeader = i4::header_bytes(kZeros);

  const I4Params& p;
  uint32_t ring;
  uint32_t x_ring;
  uint32_t full;
  uint32_t empty;
  uint32_t x_full;
  uint32_t x_empty;
  int first;  // unit
  int units;

  __device__ int tiles() const { return (units + kTileUnits - 1) / kTileUnits; }
  __device__ int block_units() const { return p.block_tiles * kTileUnits; }
  // Of a block: gate rows, up rows, headers of gate rows, headers of up rows.
  __device__ uint32_t up_at(uint32_t row_bytes) const { return block_units() * row_bytes; }
  __device__ uint32_t headers_at() const { return p.block_tiles * 16 * i4::kChunkBytes; }
};

// The copies of a block: `unit` to `unit + count` of chunk `chunk`. The same in all lanes: the copy instruction takes
// its operands from uniform registers.
template <bool kGateUp, bool kZeros>
__device__ __forceinline__ void copy_block(const Cta<kGateUp, kZeros>& cta, int unit, int count, int chunk, int at,
                                           bool leader, uint64_t policy) {
  const I4Params& p = cta.p;
  const uint32_t row_bytes = i4::chunk_groups(p.k, chunk) * i4::kGroupBytes;
  const uint32_t barrier = cta.full + 8 * at;
  const uint32_t to = cta.ring + at * p.block_bytes;
  const uint8_t* values = p.w + i4::values_at(p.n, p.k, unit, chunk);
  const uint8_t* headers = p.w + i4::header_at(p.n, p.k, unit, chunk, kZeros);
  if (!leader) return;
  ptx::barrier_arrive_expect(barrier, (kGateUp ? 2 : 1) * count * (row_bytes + cta.kHeader));
  ptx::bulk_copy(to, values, count * row_bytes, barrier, policy);
  if (kGateUp) {
    ptx::bulk_copy(to + cta.up_at(row_bytes), values + static_cast<int64_t>(p.units) * row_bytes, count * row_bytes,
                   barrier, policy);
  }
  ptx::bulk_copy(to + cta.headers_at(), headers, count * cta.kHeader, barrier, policy);
  if (kGateUp) {
    ptx::bulk_copy(to + cta.headers_at() + cta.up_at(cta.kHeader),
                   headers + static_cast<int64_t>(p.units) * cta.kHeader, count * cta.kHeader, barrier, policy);
  }
}

template <bool kGateUp, bool kZeros>
__device__ __forceinline__ void copy_weights(const Cta<kGateUp, kZeros>& cta) {
  const I4Params& p = cta.p;
  const bool leader = ptx::elect_one();
  const uint64_t policy = ptx::policy_evict_first();
  const int pass_units = p.pass_tiles * cta.kTileUnits;
  Turn turn{.parity = 1};  // a ring that was never filled is empty
  for (int begin = 0; begin < cta.units; begin += pass_units) {
    const int end = min(begin + pass_units, cta.units);
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      for (int unit = begin; unit < end; unit += cta.block_units()) {
        ptx::barrier_wait(cta.empty + 8 * turn.at, turn.parity);
        copy_block(cta, cta.first + unit, min(cta.block_units(), end - unit), chunk, turn.at, leader, policy);
        turn.advance(p.blocks);
      }
    }
  }
  if (leader && p.next.data != nullptr) prefetch_next(p.next, 0, 1);
}

template <bool kGateUp, bool kZeros>
__device__ __forceinline__ void copy_x(const Cta<kGateUp, kZeros>& cta) {
  const I4Params& p = cta.p;
  const bool leader = ptx::elect_one();
  const uint64_t policy = ptx::policy_evict_last();
  const bool once = p.x_chunks == p.chunks;
  const int passes = once ? 1 : (cta.tiles() + p.pass_tiles - 1) / p.pass_tiles;
  ptx::prefetch_map(&p.x_map);
  ptx::wait_for_previous();
  Turn turn{.parity = 1};
  for (int pass = 0; pass < passes; ++pass) {
    for (int chunk = 0; chunk < p.chunks; ++chunk) {
      const uint32_t barrier = cta.x_full + 8 * turn.at;
      const uint32_t bytes = p.rows * kXRowBytes;
      ptx::barrier_wait(cta.x_empty + 8 * turn.at, turn.parity);
      if (leader) {
        ptx::barrier_arrive_expect(barrier, bytes);
        ptx::tensor_copy(cta.x_ring + turn.at * bytes, &p.x_map, 0, 0, chunk * (i4::kChunk / kXSpan), barrier, policy);
      }
      turn.advance(p.x_chunks);
    }
  }
}

template <int kBlocks, int kCols, bool kGateUp, bool kZeros>
struct Multiplier {
  using Team = Teams<kBlocks, kCols>;
  static constexpr int kBlockShare = kBlockTiles / Team::kTileStep;  // tiles of a block that a warp takes
  static constexpr int kTiles = kBlocks * kBlockShare;

  const Cta<kGateUp, kZeros>& cta;
  float* sums;  // [kPartials][rows of x][pitch]
  int warp;     // in its team
  int team;
  int lane;

  __device__ __forceinline__ void run() const {
    const I4Params& p = cta.p;
    const int total = cta.tiles();
    const bool once = p.x_chunks == p.chunks;
    const int first_tile = Team::kByChunk ? 0 : team;
    const int parity[2] = {(cta.first + lane / 4) & 1, (cta.first + (kGateUp ? p.units : 0) + lane / 4) & 1};
    // Where the lane finds the group's two spans of its row for ldmatrix, in the swizzle of the tensor copy engine.
    uint32_t x_at[kCols][2];
#pragma unroll
    for (int c = 0; c < kCols; ++c) {
#pragma unroll
      for (int s = 0; s < 2; ++s) {
        const int row = (warp * 2 + s) * p.rows + min(c * 8 + lane % 8, p.rows - 1);
        x_at[c][s] = cta.x_ring + row * kXSpan * 2 + (lane / 8 ^ row % 8) * 16;
      }
    }
    Turn turn;
    Turn x_turn;
    int count = -1;  // not known yet
    for (int begin = 0; begin < total; begin += p.pass_tiles) {
      const int tiles = min(p.pass_tiles, total - begin);
      float acc[kTiles][kCols][4] = {};
      for (int chunk = 0; chunk < p.chunks; ++chunk) {
        if (Team::kByChunk && Team::kCount > 1 && chunk % Team::kCount != team) {  // the other team's
          turn.advance(p.blocks);
          x_turn.advance(p.x_chunks);
          continue;
        }
        const int groups = i4::chunk_groups(p.k, chunk);
        XGroup<kCols> x;
        ptx::barrier_wait(cta.x_full + 8 * x_turn.at, once ? 0 : x_turn.parity);
        {
          uint32_t at[kCols][2];
#pragma unroll
          for (int c = 0; c < kCols; ++c) {
#pragma unroll
            for (int s = 0; s < 2; ++s) at[c][s] = x_at[c][s] + x_turn.at * p.rows * kXRowBytes;
          }
          x.load(at);  // of a group that does not exist: whatever lies there
        }
        if (!once) ptx::barrier_arrive_warp(cta.x_empty + 8 * x_turn.at, lane);
        x_turn.advance(p.x_chunks);
        if (count < 0) count = used_rows(p);  // x is here, so the kernels before are done; used much later
        const uint32_t row_bytes = groups * i4::kGroupBytes;
        const uint32_t step = cta.kTileUnits * row_bytes;
        uint32_t values[2];
        uint32_t headers[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const int row = lane / 4 + h * (kGateUp ? cta.block_units() : 8) + first_tile * cta.kTileUnits;
          const int slot = i4::slot(parity[h], warp, groups);
          values[h] = cta.ring + row * row_bytes + slot * i4::kGroupBytes + lane % 4 * 16;
          headers[h] = cta.ring + cta.headers_at() + row * cta.kHeader + warp * 2;
        }
#pragma unroll
        for (int block = 0; block < kBlocks; ++block) {
          if (block * p.block_tiles >= tiles) break;
          ptx::barrier_wait(cta.full + 8 * turn.at, turn.parity);
          if (warp < groups) {
            multiply_block(&acc[block * kBlockShare], x, tiles - block * p.block_tiles - first_tile,
                           turn.at * p.block_bytes, values, headers, step);
          }
          ptx::barrier_arrive_warp(cta.empty + 8 * turn.at, lane);
          turn.advance(p.blocks);
        }
      }
      add_up(acc, cta.first + begin * cta.kTileUnits, tiles, count);
    }
  }

  // This warp's share of a block: every kTileStep-th tile while fewer than `tiles`.
  __device__ __forceinline__ void multiply_block(float (*acc)[kCols][4], const XGroup<kCols>& x, int tiles,
                                                 uint32_t offset, const uint32_t (&values)[2],
                                                 const uint32_t (&headers)[2], uint32_t step) const {
    if (tiles <= 0) return;
    uint32_t value[2] = {values[0] + offset, values[1] + offset};
    uint32_t header[2] = {headers[0] + offset, headers[1] + offset};
    TileWords words;
    words.load(value, header);
#pragma unroll
    for (int m = 0; m < kBlockShare; ++m) {
      float zero[2] = {-136.0f, -136.0f};
      if constexpr (kZeros) {
#pragma unroll
        for (int h = 0; h < 2; ++h) zero[h] = -128.0f - static_cast<float>(load_shared_u8(header[h] + 16 - warp));
      }
      const TileWords these = words;
      const bool more = m + 1 < kBlockShare && (m + 1) * Team::kTileStep < tiles;
      if (more) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          value[h] += Team::kTileStep * step;
          header[h] += Team::kTileStep * cta.kTileUnits * cta.kHeader;
        }
        words.load(value, header);
      }
      multiply_tile<kCols>(acc[m], these, zero, x);
      if (!more) break;
    }
  }

  // The warps' sums of `tiles` tiles, 2^sum_shift at a time, and what becomes of them.
  __device__ __forceinline__ void add_up(const float (&acc)[kTiles][kCols][4], int begin_unit, int tiles,
                                         int count) const {
    const I4Params& p = cta.p;
    const int slice = 1 << p.sum_shift;
    const int pitch = slice * 16 + 4;
    const int partial = Team::kByChunk ? team * kTeam + warp : warp;
    float* mine = sums + (partial * p.rows + lane % 4 * 2) * pitch + lane / 4;
    const int end_unit = min(begin_unit + tiles * cta.kTileUnits, cta.first + cta.units);
    for (int from = 0; from < tiles; from += slice) {
#pragma unroll
      for (int m = 0; m < kTiles; ++m) {
        const int tile = Team::kByChunk ? m : m * Team::kTileStep + team;
        if (tile < from || tile >= from + slice) continue;
        float* at = mine + (tile - from) * 16;
#pragma unroll
        for (int c = 0; c < kCols; ++c) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            if (c * 8 + lane % 4 * 2 + i % 2 < p.rows) at[(c * 8 + i % 2) * pitch + i / 2 * 8] = acc[m][c][i];
          }
        }
      }
      ptx::named_barrier(1, Team::kMultipliers * 32);
      if (count < 0) count = used_rows(p);  // this team had no chunk
      const int shift = p.sum_shift + (kGateUp ? 3 : 4);
      for (int i = (team * kTeam + warp) * 32 + lane; i < count << shift; i += Team::kMultipliers * 32) {
        const int slot = i & ((1 << shift) - 1);
        const int unit = begin_unit + from * cta.kTileUnits + slot;
        if (unit < end_unit) finish(unit, slot, i >> shift, pitch);
      }
      ptx::named_barrier(1, Team::kMultipliers * 32);
    }
  }

  __device__ __forceinline__ float total(int row, int r, int pitch) const {
    const float* at = sums + r * pitch + row;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < Team::kPartials; ++w) sum += at[w * cta.p.rows * pitch];
    return sum;
  }

  __device__ __forceinline__ float biased(float sum, int row) const {
    return cta.p.bias == nullptr ? sum : sum + cta.p.bias[row];
  }

  __device__ __forceinline__ void finish(int unit, int slot, int r, int pitch) const {
    const I4Params& p = cta.p;
    float value;
    if constexpr (kGateUp) {
      const int row = slot / 8 * 16 + slot % 8;
      const float gate = biased(total(row, r, pitch), unit);
      const float up = biased(total(row + 8, r, pitch), unit + p.units);
      value = gate / (1.0f + __expf(-gate)) * up;
    } else {
      value = biased(total(slot, r, pitch), unit);
    }
    const int64_t at = r * p.y_stride + unit;
    if (p.y_f32) {
      static_cast<float*>(p.y)[at] = value;
    } else {
      static_cast<__nv_bfloat16*>(p.y)[at] = __float2bfloat16_rn(value);
    }
  }
};

template <int kBlocks, int kCols, bool kGateUp, bool kZeros>
__global__ void __launch_bounds__(Teams<kBlocks, kCols>::kThreads, 1) i4_kernel(const __grid_constant__ I4Params p) {
#if __CUDA_ARCH__ >= 900
  using Team = Teams<kBlocks, kCols>;
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[2 * (kMaxBlocks + kMaxXChunks)];
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);  // uniform, and the compiler knows
  const int lane = threadIdx.x % 32;
  const uint32_t full = ptx::shared_address(barriers);
  const uint32_t empty = full + 8 * kMaxBlocks;
  const uint32_t x_full = empty + 8 * kMaxBlocks;
  const uint32_t x_empty = x_full + 8 * kMaxXChunks;
  ptx::launch_dependents();
  // The copying warp makes its barriers itself and goes on before the others are ready.
  if (warp == Team::kMultipliers) {
    if (lane == 0) {
      for (int i = 0; i < p.blocks; ++i) {
        ptx::barrier_init(full + 8 * i, 1);
        ptx::barrier_init(empty + 8 * i, Team::kArrivals * ptx::kWarpArrivals);
      }
      ptx::barrier_init_fence();
    }
    __syncwarp();
    ptx::named_barrier_arrive(2, Team::kThreads);
  } else {
    if (warp == Team::kMultipliers + 1 && lane == 0) {
      for (int i = 0; i < p.x_chunks; ++i) {
        ptx::barrier_init(x_full + 8 * i, 1);
        ptx::barrier_init(x_empty + 8 * i, Team::kArrivals * ptx::kWarpArrivals);
      }
      ptx::barrier_init_fence();
    }
    ptx::named_barrier(2, Team::kThreads);
  }
  const uint32_t x_ring = (ptx::shared_address(shared) + kSwizzle - 1) & ~(kSwizzle - 1);
  const int first = first_unit(blockIdx.x, p.units);
  const uint32_t ring = x_ring + p.x_chunks * p.rows * kXRowBytes;
  const Cta<kGateUp, kZeros> cta{
      p, ring, x_ring, full, empty, x_full, x_empty, first, first_unit(blockIdx.x + 1, p.units) - first};
  if (warp < Team::kMultipliers) {
    auto* sums = reinterpret_cast<float*>(shared + (ring - ptx::shared_address(shared)) + p.blocks * p.block_bytes);
    Multiplier<kBlocks, kCols, kGateUp, kZeros>{cta, sums, warp % kTeam, warp / kTeam, lane}.run();
  } else if (warp == Team::kMultipliers) {
    copy_weights(cta);
  } else {
    copy_x(cta);
  }
#endif
}

// Fills what depends on shape and card; returns the bytes of shared memory.
template <int kBlocks, int kCols>
int lay_out(I4Params& p, bool gate_up, bool zeros, int grid) {
  // Where two teams take chunks in turns, a place of a ring has to stay one team's: a barrier's parity tells only two
  // uses apart, and the other team's use would lie between two of a team's own.
  constexpr int kTurns = Teams<kBlocks, kCols>::kByChunk ? Teams<kBlocks, kCols>::kCount : 1;
  constexpr int kMinBlocks = kTurns == 2 ? 4 : 3;
  constexpr int kXBytes = 36 << 10;
  const int tile_units = gate_up ? 8 : 16;
  const int tiles = ((p.units + grid - 1) / grid + tile_units - 1) / tile_units;  // of the largest CTA
  const int passes = (tiles + kBlocks * kBlockTiles - 1) / (kBlocks * kBlockTiles);
  p.pass_tiles = (tiles + passes - 1) / passes;
  p.block_tiles = kBlocks == 1 ? p.pass_tiles : kBlockTiles;
  p.block_bytes = (p.block_tiles * 16 * (i4::kChunkBytes + i4::header_bytes(zeros)) + 127) / 128 * 128;
  const int x_bytes = p.rows * kXRowBytes;
  p.x_chunks = std::min({p.chunks, kMaxXChunks, std::max(kXBytes / x_bytes, 2)});
  if (p.x_chunks < p.chunks) p.x_chunks -= p.x_chunks % kTurns;
  const auto sum_bytes = [&p](int shift) {
    return Teams<kBlocks, kCols>::kPartials * p.rows * ((16 << shift) + 4) * 4;
  };
  p.sum_shift = 0;
  while (1 << p.sum_shift < p.pass_tiles && sum_bytes(p.sum_shift + 1) <= kSumBytes) ++p.sum_shift;
  const int rest = static_cast<int>(kSwizzle) + p.x_chunks * x_bytes + sum_bytes(p.sum_shift);
  const int budget = std::clamp(rest + kMinBlocks * p.block_bytes, kRing, kWhole);
  p.blocks = std::min((budget - rest) / p.block_bytes, kMaxBlocks);
  p.blocks -= p.blocks % kTurns;
  return rest + p.blocks * p.block_bytes;
}

template <int kBlocks, int kCols, bool kGateUp, bool kZeros>
cudaError_t launch_with(I4Params p, int grid, cudaStream_t stream) {
  const int shared = lay_out<kBlocks, kCols>(p, kGateUp, kZeros, grid);
  return ProductLaunch(grid, Teams<kBlocks, kCols>::kThreads, shared, 1, stream)
      .run(i4_kernel<kBlocks, kCols, kGateUp, kZeros>, p);
}

template <int kCols, bool kZeros>
cudaError_t launch_with(const I4Params& p, bool gate_up, int grid, cudaStream_t stream) {
  constexpr int kBlocks = 4 / kCols;  // so many accumulators fit
  if (gate_up) return launch_with<kBlocks, kCols, true, kZeros>(p, grid, stream);
  if ((p.units + grid - 1) / grid <= kBlockTiles * 16) return launch_with<1, kCols, false, kZeros>(p, grid, stream);
  return launch_with<kBlocks, kCols, false, kZeros>(p, grid, stream);
}

}  // namespace

cudaError_t launch_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                      cudaStream_t stream) {
  I4Params p = {product_params(weight, operands)};
  p.x_map = tensor_map<3>(operands.x,
                          {kXSpan, static_cast<uint64_t>(operands.rows), static_cast<uint64_t>(weight.k / kXSpan)},
                          {static_cast<uint64_t>(operands.x_stride) * 2, kXSpan * 2},
                          {kXSpan, static_cast<uint32_t>(operands.rows), i4::kChunk / kXSpan});
  p.chunks = i4::num_chunks(weight.k);
  const int grid = std::min(device.num_sms, (p.units + 7) / 8);
  if (operands.rows <= 8) {
    return weight.zero_points ? launch_with<1, true>(p, weight.gate_up, grid, stream)
                              : launch_with<1, false>(p, weight.gate_up, grid, stream);
  }
  return weight.zero_points ? launch_with<2, true>(p, weight.gate_up, grid, stream)
                            : launch_with<2, false>(p, weight.gate_up, grid, stream);
}

}  // namespace glimpse::cuda::skinny
