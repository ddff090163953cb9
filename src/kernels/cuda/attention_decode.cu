// Paged attention for few queries: memory-bound, so the card has to be filled whatever the batch.
//
// The work is a row of units: for each sequence, for each 16 of its packed query rows (token by token, `group` heads a
// token), for each kv head, one unit for each block of its context. The row is cut into equal runs, one for each block
// of threads ("stream-K"), so balance does not depend on how ragged the lengths are, and neither grid nor workspace on
// capacities. A run consists of pieces: whole (tile, head) pairs, and at its ends parts of pairs that other runs share.
//
//   pairs   |---- a ----|-- b --|---------- c ----------|
//   runs    |   0   |   1   |   2   |   3   |   4   |
//
// Within a piece each of four warps has 16 of a block's 64 tokens, with softmax and sums of its own. A shared pair's
// parts are merged by whoever finishes last (an atomic count says who), in groups of 20 and then the groups, always in
// the order of the context.

#include <cuda_bf16.h>

#include <type_traits>

#include "base/check.h"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/mma.cuh"

namespace glimpse::cuda {

namespace {

constexpr int kRows = 16;  // of a tile of queries
constexpr int kWarps = 4;  // each with kTokens of a block
constexpr int kTokens = kKvBlockSize / kWarps;
constexpr int kThreads = 32 * kWarps;
constexpr int kStages = 3;
constexpr int kBlocksPerSm = 2;
constexpr int kMergeGroup = 20;  // parts that one block merges; its square bounds the runs
static_assert(kTokens == 16);

// What a warp, a run or a merged group knows of a tile: sums of values relative to max, max and sum of weights.
template <int kHeadDim>
struct Part {
  float o[kRows][kHeadDim];
  float max[kRows];
  float sum[kRows];
};

template <int kHeadDim>
struct Stage {  // of one warp; rows padded by 16 bytes against bank conflicts
  __nv_bfloat16 k[kTokens][kHeadDim + 8];
  __nv_bfloat16 v[kTokens][kHeadDim + 8];
};

template <int kHeadDim>
struct Shared {
  union {
    Stage<kHeadDim> stages[kWarps][kStages];
    Part<kHeadDim> parts[kWarps];
  };
  float weights[kRows][kMergeGroup];
  int last;
};

struct Constants {
  const int32_t* num_seqs;
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks;
  int32_t num_kv_heads;
  int32_t group;
  int32_t min_queries, max_queries;
  float scale_log2;
  const __nv_bfloat16* q;
  int64_t q_stride;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  void* out;
  int64_t out_stride;
  bool out_f32;
  void* parts;         // [2 * runs]
  uint32_t* counters;  // [2][2 * runs]: of groups, of pairs
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
  int32_t pair_blocks;  // of the whole pair
  int64_t pair_begin;   // first unit of the pair
};

// Units of sequence s; how many blocks and row tiles it has.
struct Extent {
  int32_t begin = 0, queries = 0, context = 0, blocks = 0, tiles = 0;
  __device__ Extent(const Constants& c, int32_t s, int32_t num_seqs) {
    if (s >= num_seqs) return;
    begin = c.cu_seqlens[s];
    queries = c.cu_seqlens[s + 1] - begin;
    if (queries < c.min_queries || queries > c.max_queries) queries = 0;
    context = c.context_lens[s];
    blocks = max(1, (context + kKvBlockSize - 1) / kKvBlockSize);  // one to write zeros when there is nothing
    tiles = (queries * c.group + kRows - 1) / kRows;
  }
  __device__ int64_t units(const Constants& c) const { return int64_t{tiles} * c.num_kv_heads * blocks; }
};

__device__ __forceinline__ int64_t warp_sum(int64_t x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffff, x, step);
  return x;
}

__device__ int64_t count_units(const Constants& c, int32_t num_seqs) {
  int64_t units = 0;
  for (int32_t s = static_cast<int32_t>(threadIdx.x % 32); s < num_seqs; s += 32)
    units += Extent(c, s, num_seqs).units(c);
  return warp_sum(units);
}

// The piece that begins at `unit` and ends at `end` or its pair's end. By all lanes of a warp; unit is in range.
__device__ Piece find_piece(const Constants& c, int32_t num_seqs, int64_t unit, int64_t end) {
  const auto lane = static_cast<int32_t>(threadIdx.x % 32);
  int64_t passed = 0;
  for (int32_t first = 0;; first += 32) {
    const Extent extent(c, first + lane, num_seqs);
    const int64_t units = extent.units(c);
    int64_t before = units;  // inclusive sums
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
      const int64_t other = __shfl_up_sync(0xffffffff, before, step);
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
    const int64_t seq_begin = passed + __shfl_sync(0xffffffff, before - units, who);
    const auto at = static_cast<int32_t>(unit - seq_begin);
    const int32_t pair = at / piece.pair_blocks;
    piece.kv_head = pair % c.num_kv_heads;
    piece.row_tile = pair / c.num_kv_heads;
    piece.first_block = at % piece.pair_blocks;
    piece.pair_begin = unit - piece.first_block;
    const int64_t left = end - unit;
    piece.num_blocks = static_cast<int32_t>(
        left < piece.pair_blocks - piece.first_block ? left : int64_t{piece.pair_blocks - piece.first_block});
    return piece;
  }
}

// Rows 4 warp ... 4 warp + 3 of a merged tile, kHeadDim / 32 columns a lane.
template <int kHeadDim>
struct Merged {
  static constexpr int kColumns = kHeadDim / 32;
  float o[4][kColumns];
  float max[4], sum[4];
};

// Merges parts part_at(0) ... part_at(count - 1); kShared: they lie in shared memory. By all threads.
template <int kHeadDim, bool kShared, typename PartAt>
__device__ Merged<kHeadDim> merge(Shared<kHeadDim>& shared, int count, const PartAt& part_at) {
  constexpr int kColumns = Merged<kHeadDim>::kColumns;
  using Vector = std::conditional_t<kColumns == 4, float4, float2>;
  const auto load = [](const auto* x) {
    if constexpr (kShared) {
      return *x;
    } else {
      return __ldcg(x);  // other blocks wrote it: not from L1
    }
  };
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  Merged<kHeadDim> merged;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * warp + i;
    const float max = lane < count ? load(&part_at(lane).max[row]) : -INFINITY;
    float sum = lane < count ? load(&part_at(lane).sum[row]) : 0.0f;
    float top = max;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, step));
    const float weight = max == -INFINITY ? 0.0f : power_of_two(max - top);
    sum *= weight;
#pragma unroll
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
    if (lane < count) shared.weights[row][lane] = weight;
    merged.max[i] = top;
    merged.sum[i] = sum;
#pragma unroll
    for (int column = 0; column < kColumns; ++column) merged.o[i][column] = 0;
  }
  __syncwarp();
#pragma unroll 4
  for (int part = 0; part < count; ++part) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * warp + i;
      const Vector values = load(reinterpret_cast<const Vector*>(&part_at(part).o[row][lane * kColumns]));
      const float weight = shared.weights[row][part];
      const auto* x = reinterpret_cast<const float*>(&values);
#pragma unroll
      for (int column = 0; column < kColumns; ++column) {
        merged.o[i][column] = fmaf(weight, x[column], merged.o[i][column]);
      }
    }
  }
  __syncwarp();
  return merged;
}

template <int kHeadDim>
__device__ void store_part(Part<kHeadDim>& part, const Merged<kHeadDim>& merged) {
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int column = 0; column < Merged<kHeadDim>::kColumns; ++column) {
      part.o[4 * warp + i][lane * Merged<kHeadDim>::kColumns + column] = merged.o[i][column];
    }
    if (lane == 0) {
      part.max[4 * warp + i] = merged.max[i];
      part.sum[4 * warp + i] = merged.sum[i];
    }
  }
}

template <int kHeadDim>
__device__ void store_output(const Constants& c, const Piece& piece, const Merged<kHeadDim>& merged) {
  constexpr int kColumns = Merged<kHeadDim>::kColumns;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int32_t row = piece.row_tile * kRows + 4 * warp + i;
    const int32_t token = row / c.group;
    if (token >= piece.queries) continue;
    const int64_t at = (piece.first_token + token) * c.out_stride +
                       (piece.kv_head * c.group + row % c.group) * kHeadDim + lane * kColumns;
    const float inverse = merged.sum[i] > 0 ? 1.0f / merged.sum[i] : 0.0f;
#pragma unroll
    for (int column = 0; column < kColumns; column += 2) {
      const float x = merged.o[i][column] * inverse, y = merged.o[i][column + 1] * inverse;
      if (c.out_f32) {
        *reinterpret_cast<float2*>(static_cast<float*>(c.out) + at + column) = make_float2(x, y);
      } else {
        *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(c.out) + at + column) = pack_bf16(x, y);
      }
    }
  }
}

// Attention of a tile's rows over the piece's blocks: leaves each warp's part in shared.parts. By all threads.
template <int kHeadDim>
__device__ void attend(const Constants& c, Shared<kHeadDim>& shared, const Piece& piece) {
  constexpr int kSteps = kHeadDim / 16;
  constexpr int kChunks = kHeadDim / 8;  // of 16 bytes, in a row
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  Stage<kHeadDim>* stages = shared.stages[warp];
  const int32_t* blocks = c.block_table + int64_t{piece.seq} * c.max_blocks + piece.first_block;
  const int32_t num_blocks = piece.context > 0 ? piece.num_blocks : 0;
  const int32_t first_key = piece.first_block * kKvBlockSize + warp * kTokens;  // of this warp, in the first block

  const auto bring = [&](int32_t block, int32_t i) {  // block i of the piece, its id; commits also when there is none
    if (i < num_blocks) {
      Stage<kHeadDim>& stage = stages[i % kStages];
      const int64_t offset =
          ((int64_t{block} * c.num_kv_heads + piece.kv_head) * kKvBlockSize + warp * kTokens) * kHeadDim;
      const int32_t valid = piece.context - (first_key + i * kKvBlockSize);  // tokens; behind them zeros
#pragma unroll
      for (int j = 0; j < kTokens * kChunks / 32; ++j) {
        const int row = (j * 32 + lane) / kChunks, chunk = (j * 32 + lane) % kChunks;
        copy_16(&stage.k[row][chunk * 8], c.k + offset + row * kHeadDim + chunk * 8, row < valid);
      }
#pragma unroll
      for (int j = 0; j < kTokens * kChunks / 32; ++j) {
        const int row = (j * 32 + lane) / kChunks, chunk = (j * 32 + lane) % kChunks;
        copy_16(&stage.v[row][chunk * 8], c.v + offset + row * kHeadDim + chunk * 8, row < valid);
      }
    }
    copies_commit();
  };
  const auto block_id = [&](int32_t i) { return i < num_blocks ? __ldg(blocks + i) : 0; };

#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) bring(block_id(i), i);
  int32_t next = block_id(kStages - 1);

  // The queries, as the left operand.
  uint32_t q[kSteps][4];
  int32_t visible[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t row = piece.row_tile * kRows + lane / 4 + 8 * r;
    const int32_t token = row / c.group;
    const bool present = token < piece.queries;
    visible[r] = present ? piece.context - (piece.queries - 1 - token) : 0;
    const __nv_bfloat16* source = c.q + (piece.first_token + (present ? token : 0)) * c.q_stride +
                                  (piece.kv_head * c.group + row % c.group) * kHeadDim + lane % 4 * 2;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        q[step][2 * half + r] = present ? *reinterpret_cast<const uint32_t*>(source + step * 16 + half * 8) : 0u;
      }
    }
  }

  float o[kHeadDim / 8][4] = {};
  WarpSoftmax<2> softmax;
  for (int32_t i = 0; i < num_blocks; ++i) {
    copies_wait<kStages - 2>();
    __syncwarp();  // everyone's copies have arrived, and everyone is done with the stage before
    bring(next, i + kStages - 1);
    next = block_id(i + kStages);
    const Stage<kHeadDim>& stage = stages[i % kStages];

    float s[2][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t k[4];  // tokens 0..7 and 8..15, each by columns 0..7 and 8..15
      load_matrices(k, &stage.k[lane % 8 + lane / 16 * 8][step * 16 + lane / 8 % 2 * 8]);
      multiply(s[0], q[step], k[0], k[1]);
      multiply(s[1], q[step], k[2], k[3]);
    }
    const int32_t key = first_key + i * kKvBlockSize + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (key + 8 * j + e % 2 >= visible[e / 2]) s[j][e] = -INFINITY;
      }
    }
    const float2 correction = softmax.soften(s, c.scale_log2);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      o[j][0] *= correction.x;
      o[j][1] *= correction.x;
      o[j][2] *= correction.y;
      o[j][3] *= correction.y;
    }
    const uint32_t p[4] = {pack_bf16(s[0][0], s[0][1]), pack_bf16(s[0][2], s[0][3]), pack_bf16(s[1][0], s[1][1]),
                           pack_bf16(s[1][2], s[1][3])};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t v[4];  // columns 0..7 by tokens 0..7 and 8..15, then columns 8..15
      load_matrices_transposed(v, &stage.v[lane % 16][step * 16 + lane / 16 * 8]);
      multiply(o[2 * step], p, v[0], v[1]);
      multiply(o[2 * step + 1], p, v[2], v[3]);
    }
  }
  copies_wait<0>();
  const float sum0 = softmax.row_sum(0), sum1 = softmax.row_sum(1);
  __syncthreads();  // parts lie where the stages were
  Part<kHeadDim>& part = shared.parts[warp];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int row = lane / 4 + 8 * r;
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      *reinterpret_cast<float2*>(&part.o[row][8 * j + lane % 4 * 2]) = make_float2(o[j][2 * r], o[j][2 * r + 1]);
    }
    if (lane % 4 == 0) {
      part.max[row] = softmax.max[r];
      part.sum[row] = r == 0 ? sum0 : sum1;
    }
  }
  __syncthreads();
}

// One more of `count` has arrived; true, for all threads, in the last. The counter is then zero again.
template <int kHeadDim>
__device__ bool last_of(Shared<kHeadDim>& shared, uint32_t* counter, int count) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    shared.last = atomicInc(counter, static_cast<uint32_t>(count - 1)) == static_cast<uint32_t>(count - 1);
  }
  __syncthreads();
  const bool last = shared.last != 0;
  if (last) __threadfence();
  return last;
}

// Hands this run's part of a pair over; true, for all threads of one run, when it was the last, with all of it in
// `merged`.
template <int kHeadDim>
__device__ bool share(const Constants& c, Shared<kHeadDim>& shared, const Piece& piece, int64_t run_units,
                      Merged<kHeadDim>& merged) {
  auto* parts = static_cast<Part<kHeadDim>*>(c.parts);
  const auto first_run = static_cast<int>(piece.pair_begin / run_units);
  const auto last_run = static_cast<int>((piece.pair_begin + piece.pair_blocks - 1) / run_units);
  const int sharing = last_run - first_run + 1;
  const int idx = static_cast<int>(blockIdx.x) - first_run;
  // A run has at most two parts: the rest of a pair in slot 2 run, the beginning of the next in slot 2 run + 1.
  const auto slot = [&](int i) { return i == 0 ? 2 * first_run + 1 : 2 * (first_run + i); };
  store_part(parts[slot(idx)], merged);

  const int group = idx / kMergeGroup, groups = (sharing + kMergeGroup - 1) / kMergeGroup;
  const int first = group * kMergeGroup;
  const int members = min(kMergeGroup, sharing - first);
  if (!last_of(shared, c.counters + slot(first), members)) return false;
  merged =
      merge<kHeadDim, false>(shared, members, [&](int i) -> const Part<kHeadDim>& { return parts[slot(first + i)]; });
  if (groups == 1) return true;
  __syncthreads();  // all have read what is now overwritten
  store_part(parts[slot(first)], merged);
  if (!last_of(shared, c.counters + 2 * gridDim.x + slot(0), groups)) return false;
  merged = merge<kHeadDim, false>(shared, groups,
                                  [&](int i) -> const Part<kHeadDim>& { return parts[slot(i * kMergeGroup)]; });
  return true;
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm) decode_kernel(const __grid_constant__ Constants c) {
  extern __shared__ __align__(16) std::byte memory[];
  auto& shared = *reinterpret_cast<Shared<kHeadDim>*>(memory);
  wait_for_previous_kernel();
  const int32_t num_seqs = *c.num_seqs;
  const int64_t units = count_units(c, num_seqs);
  const int64_t runs = gridDim.x;
  const int64_t run_units = (units + runs - 1) / runs;
  const int64_t end = min(units, (blockIdx.x + int64_t{1}) * run_units);
  for (int64_t unit = blockIdx.x * run_units; unit < end;) {
    const Piece piece = find_piece(c, num_seqs, unit, end);
    attend(c, shared, piece);
    Merged<kHeadDim> merged =
        merge<kHeadDim, true>(shared, kWarps, [&](int i) -> const Part<kHeadDim>& { return shared.parts[i]; });
    if (piece.num_blocks == piece.pair_blocks || share(c, shared, piece, run_units, merged)) {
      store_output(c, piece, merged);
    }
    unit += piece.num_blocks;
    __syncthreads();
  }
  let_next_kernel_start();
}

template <int kHeadDim>
void launch(const AttentionProblem& p, const AttentionLaunch& options) {
  const int runs = kBlocksPerSm * options.sm_count;
  CHECK(runs <= kMergeGroup * kMergeGroup && options.workspace != nullptr && options.counters != nullptr, runs);
  const Constants c{.num_seqs = p.num_seqs,
                    .cu_seqlens = p.cu_seqlens,
                    .context_lens = p.context_lens,
                    .block_table = p.block_table,
                    .max_blocks = p.max_blocks,
                    .num_kv_heads = p.num_kv_heads,
                    .group = p.num_heads / p.num_kv_heads,
                    .min_queries = p.min_queries,
                    .max_queries = p.max_queries,
                    .scale_log2 = p.scale * 1.44269504f,
                    .q = static_cast<const __nv_bfloat16*>(p.q),
                    .q_stride = p.q_stride,
                    .k = static_cast<const __nv_bfloat16*>(p.k),
                    .v = static_cast<const __nv_bfloat16*>(p.v),
                    .out = p.out,
                    .out_stride = p.out_stride,
                    .out_f32 = p.out_dtype == DType::kF32,
                    .parts = options.workspace,
                    .counters = reinterpret_cast<uint32_t*>(options.counters)};
  allow_shared(&decode_kernel<kHeadDim>, sizeof(Shared<kHeadDim>));
  launch_kernel(&decode_kernel<kHeadDim>, dim3(static_cast<unsigned>(runs)), kThreads, sizeof(Shared<kHeadDim>),
                options, c);
}

}  // namespace

bool decode_can(const AttentionProblem& p) {
  return p.paged && p.dtype == DType::kBF16 && p.q_dtype == DType::kBF16 && (p.head_dim == 64 || p.head_dim == 128) &&
         p.q_stride % 2 == 0 && p.out_stride % 2 == 0;
}

size_t decode_workspace(const AttentionProblem& p, int sm_count) {
  const auto parts = static_cast<size_t>(2 * kBlocksPerSm * sm_count);
  return parts * (p.head_dim == 64 ? sizeof(Part<64>) : sizeof(Part<128>));
}

size_t decode_counters(int sm_count) {
  return static_cast<size_t>(4 * kBlocksPerSm * sm_count);
}

void attention_decode(const AttentionProblem& problem, const AttentionLaunch& options) {
  if (problem.head_dim == 64) {
    launch<64>(problem, options);
  } else {
    launch<128>(problem, options);
  }
}

}  // namespace glimpse::cuda
