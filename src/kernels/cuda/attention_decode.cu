// Paged attention for few queries: memory-bound and short, so the card has to be filled whatever the batch, in few
// dependent steps.
//
// The work is a row of units: for each sequence, for each 16 of its packed query rows (token by token, `group` heads a
// token), for each kv head, one unit for each block of its context. The row is cut into equal runs, one for each
// cluster of 1, 2, 4 or 8 thread blocks ("stream-K"), so balance does not depend on how ragged the lengths are, and
// neither grid nor workspace on capacities. A run consists of pieces: whole (tile, head) pairs, and at its ends parts
// of pairs that other runs share.
//
//   pairs   |---- a ----|-- b --|---------- c ----------|
//   runs    |   0   |   1   |   2   |   3   |   4   |
//
// The blocks of a piece are spread over the cluster's thread blocks, and the 64 tokens of a block over four warps, each
// with softmax and sums of its own. Then each thread block merges 16 / cluster of the rows from all the warps' parts,
// in the cluster's shared memory. What is only part of a pair goes to global memory, and whoever comes last (an atomic
// count says who) merges the runs' parts, always in the order of the context.
//
// Launched early (programmatic dependent launch), a block reads lengths, block ids and keys and values of earlier steps
// before it waits for the kernel before it: those were written by copies or in earlier steps, never by a kernel that
// this one may overlap.
#include <cuda_bf16.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/cuda/attention_decode_merge.cuh"
#include "kernels/cuda/attention_decode_plan.cuh"
#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/mma.cuh"

namespace glimpse::cuda {

namespace decode {

namespace {

constexpr int kWarps = 4;  // each with kTokens of a block
constexpr int kTokens = kKvBlockSize / kWarps;
constexpr int kThreads = 32 * kWarps;
constexpr int kBlocksPerSm = 2;
static_assert(kTokens == 16);

template <int kHeadDim>
struct Stage {  // of one warp; rows padded by 16 bytes against bank conflicts
  __nv_bfloat16 k[kTokens][kHeadDim + 8];
  __nv_bfloat16 v[kTokens][kHeadDim + 8];
};

template <int kHeadDim, int kStages>
struct Shared {
  union {
    Stage<kHeadDim> stages[kWarps][kStages];
    Part<kHeadDim> parts[kWarps];
  };
  Part<kHeadDim> inbox;  // from each thread block of the cluster the rows that this one merges
  uint64_t inbox_full;
  int last;
};

__device__ __forceinline__ void store_output(const Constants& c, const Piece& piece, int head_dim, int row, int column,
                                             const MergedRow& merged) {
  const int32_t packed = piece.row_tile * kRows + row;
  const int32_t token = packed / c.group;
  if (token >= piece.queries) return;
  const int64_t at =
      (piece.first_token + token) * c.out_stride + (piece.kv_head * c.group + packed % c.group) * head_dim + column;
  const float inverse = merged.sum > 0 ? 1.0f / merged.sum : 0.0f;
  const float x = merged.o.x * inverse, y = merged.o.y * inverse;
  if (c.out_f32) {
    *reinterpret_cast<float2*>(static_cast<float*>(c.out) + at) = make_float2(x, y);
  } else {
    *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(c.out) + at) = pack_bf16(x, y);
  }
}

// Attention of a tile's rows over blocks [first_block, first_block + num_blocks): leaves each warp's part in
// shared.parts. With `early`, the kernel before this one is waited for in here. By all threads.
template <int kHeadDim, int kStages>
__device__ __forceinline__ void attend(const Constants& c, Shared<kHeadDim, kStages>& shared, const Piece& piece,
                                       int32_t first_block, int32_t num_blocks, bool early) {
  constexpr int kSteps = kHeadDim / 16;
  constexpr int kChunks = kHeadDim / 8;  // of 16 bytes, in a row
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  Stage<kHeadDim>* stages = shared.stages[warp];
  const int32_t* blocks = c.block_table + int64_t{piece.seq} * c.max_blocks + first_block;
  const int32_t first_key = first_block * kKvBlockSize + warp * kTokens;  // of this warp, in the first block

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

  // Tokens of this step are written by the kernel before.
  const int32_t written = (piece.context - piece.queries) / kKvBlockSize - first_block;  // whole blocks
  int32_t ids[kStages - 1];
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) ids[i] = block_id(i);
#pragma unroll
  for (int i = 0; i < kStages - 1; ++i) {
    if (early && i >= written) {
      ptx::wait_for_previous();
      early = false;
    }
    bring(ids[i], i);
  }
  if (early) ptx::wait_for_previous();
  int32_t next = block_id(kStages - 1);

  // The queries, by way of the stage that is filled last, as the left operand.
  auto& q_tile = shared.stages[0][kStages - 1].k;
  static_assert(kTokens == kRows && kRows * kChunks % kThreads == 0);
#pragma unroll
  for (int j = 0; j < kRows * kChunks / kThreads; ++j) {
    const int at = j * kThreads + static_cast<int>(threadIdx.x);
    const int row = at / kChunks, chunk = at % kChunks;
    const int32_t packed = piece.row_tile * kRows + row, token = packed / c.group;
    const bool present = token < piece.queries;
    copy_16(&q_tile[row][chunk * 8],
            c.q + (piece.first_token + (present ? token : 0)) * c.q_stride +
                (piece.kv_head * c.group + packed % c.group) * kHeadDim + chunk * 8,
            present);
  }
  copies_commit();
  copies_wait<0>();
  __syncthreads();
  uint32_t q[kSteps][4];
#pragma unroll
  for (int step = 0; step < kSteps; ++step) load_matrices(q[step], &q_tile[lane % 16][step * 16 + lane / 16 * 8]);
  __syncthreads();
  int32_t visible[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int32_t token = (piece.row_tile * kRows + lane / 4 + 8 * r) / c.group;
    visible[r] = token < piece.queries ? piece.context - (piece.queries - 1 - token) : 0;
  }

  float o[kHeadDim / 8][4] = {};
  WarpSoftmax<2> softmax;
  for (int32_t i = 0; i < num_blocks; ++i) {
    copies_wait<kStages - 2>();
    __syncwarp();  // everyone's copies have arrived, and everyone is done with the stage before
    bring(next, i + kStages - 1);
    next = block_id(i + kStages);
    const Stage<kHeadDim>& stage = stages[i % kStages];

    float s[2][4] = {}, odd[2][4] = {};  // sums over even and odd steps: chains half as long
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t k[4];  // tokens 0..7 and 8..15, each by columns 0..7 and 8..15
      load_matrices(k, &stage.k[lane % 8 + lane / 16 * 8][step * 16 + lane / 8 % 2 * 8]);
      multiply(step % 2 == 0 ? s[0] : odd[0], q[step], k[0], k[1]);
      multiply(step % 2 == 0 ? s[1] : odd[1], q[step], k[2], k[3]);
    }
    const int32_t key = first_key + i * kKvBlockSize + lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        s[j][e] = key + 8 * j + e % 2 < visible[e / 2] ? s[j][e] + odd[j][e] : -INFINITY;
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
    if (lane % 4 == 0) part.scale[row] = make_float2(softmax.max[r], r == 0 ? sum0 : sum1);
  }
  __syncthreads();
}

template <int kHeadDim, int kCluster, int kStages>
__global__ void __launch_bounds__(kThreads, kBlocksPerSm) decode_kernel(const __grid_constant__ Constants c) {
  constexpr int kWide = kHeadDim / 64;         // a warp merges 64 columns of a row at a time
  constexpr int kRowsEach = kRows / kCluster;  // that a thread block merges
  constexpr int kItems = kRowsEach * kWide / kWarps;
  static_assert(kItems > 0 && kItems * kWarps == kRowsEach * kWide);
  constexpr uint32_t kInboxBytes = kRows * (kHeadDim * sizeof(float) + sizeof(float2));
  extern __shared__ __align__(16) std::byte memory[];
  auto& shared = *reinterpret_cast<Shared<kHeadDim, kStages>*>(memory);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const int rank = static_cast<int>(blockIdx.x) % kCluster;
  const int run = static_cast<int>(blockIdx.x) / kCluster;
  if constexpr (kCluster > 1) {
    if (threadIdx.x == 0) {
      make_inbox(shared.inbox_full);
      expect_rows(shared.inbox_full, kInboxBytes);
    }
    __syncwarp();
    cluster_arrive();
  }
  const Extent mine(c, lane);
  const Plan plan(c, mine, kCluster);
  ptx::launch_dependents();
  const int32_t end = min(plan.units, (run + 1) * plan.run_units);
  auto* parts = static_cast<Part<kHeadDim>*>(c.parts);
  const auto warp_row = [&](int row) {
    return [&shared, row](int p) { return RowOf<kHeadDim>{&shared.parts[p], row}; };
  };
  bool early = true;
  uint32_t inbox_parity = 0;
  for (int32_t unit = run * plan.run_units; unit < end;) {
    const Piece piece = find_piece(c, mine, unit, end);
    unit += piece.num_blocks;
    // This thread block's share of the piece.
    const int32_t each = (piece.num_blocks + kCluster - 1) / kCluster;
    const int32_t first = min(piece.num_blocks, rank * each);
    const int32_t count = piece.context > 0 ? min(each, piece.num_blocks - first) : 0;
    attend(c, shared, piece, piece.first_block + first, count, early);
    early = false;
    if constexpr (kCluster > 1) {  // each row goes to the thread block that merges it
      cluster_wait();              // until all of them run, or are done with the last piece
#pragma unroll
      for (int i = 0; i < kRows * kWide / kWarps; ++i) {
        const int row = (warp + i * kWarps) / kWide, column = (warp + i * kWarps) % kWide * 64 + lane * 2;
        send_row(shared.inbox, shared.inbox_full, row / kRowsEach, rank * kRowsEach + row % kRowsEach, column,
                 merge_near<kWarps>(column, warp_row(row)));
      }
      wait_for_rows(shared.inbox_full, inbox_parity);
    }
    MergedRow merged[kItems];
    const auto row_of = [&](int i) { return (warp + i * kWarps) / kWide; };  // among this thread block's
    const auto column_of = [&](int i) { return (warp + i * kWarps) % kWide * 64 + lane * 2; };
#pragma unroll
    for (int i = 0; i < kItems; ++i) {
      if constexpr (kCluster > 1) {
        merged[i] = merge_near<kCluster>(
            column_of(i), [&](int p) { return RowOf<kHeadDim>{&shared.inbox, p * kRowsEach + row_of(i)}; });
      } else {
        merged[i] = merge_near<kWarps>(column_of(i), warp_row(row_of(i)));
      }
    }
    if (piece.num_blocks == piece.pair_blocks) {
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        store_output(c, piece, kHeadDim, rank * kRowsEach + row_of(i), column_of(i), merged[i]);
      }
    } else {
      // A run has at most two parts: the rest of a pair in slot 2 run, the beginning of the next in slot 2 run + 1.
      const int first_run = piece.pair_begin / plan.run_units;
      const int sharing = (piece.pair_begin + piece.pair_blocks - 1) / plan.run_units - first_run + 1;
      const auto slot = [&](int i) { return i == 0 ? 2 * first_run + 1 : 2 * (first_run + i); };
#pragma unroll
      for (int i = 0; i < kItems; ++i) {
        put_row(parts[slot(run - first_run)], rank * kRowsEach + row_of(i), column_of(i), merged[i]);
      }
      if (last_of(shared.last, c.counters + slot(0) * kCluster + rank, sharing)) {
        const auto run_part = [&](int p) -> const Part<kHeadDim>* { return &parts[slot(p)]; };
#pragma unroll
        for (int i = 0; i < kItems; ++i) {
          const int row = rank * kRowsEach + row_of(i);
          store_output(c, piece, kHeadDim, row, column_of(i), merge_far(sharing, row, column_of(i), run_part));
        }
      }
    }
    if (unit >= end) break;
    // Before parts, and inboxes, are written again.
    __syncthreads();
    if constexpr (kCluster > 1) {
      inbox_parity ^= 1;
      if (threadIdx.x == 0) expect_rows(shared.inbox_full, kInboxBytes);
      __syncwarp();
      cluster_arrive();
    }
  }
  if (early) ptx::wait_for_previous();
}

// How many clusters run at once: fewer than fit by count, as a cluster lies within one of the device's groups of
// multiprocessors. The device is asked once.
template <int kHeadDim, int kCluster, int kStages>
int resident_clusters(int sm_count) {
  static const int resident = [&] {
    allow_shared(&decode_kernel<kHeadDim, kCluster, kStages>, sizeof(Shared<kHeadDim, kStages>));
    int clusters = kBlocksPerSm * sm_count / kCluster;
    if (kCluster > 1) {
      cudaLaunchAttribute attribute{};
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim = {kCluster, 1, 1};
      cudaLaunchConfig_t config{};
      config.gridDim = dim3(static_cast<unsigned>(clusters * kCluster));
      config.blockDim = dim3(kThreads);
      config.dynamicSmemBytes = sizeof(Shared<kHeadDim, kStages>);
      config.attrs = &attribute;
      config.numAttrs = 1;
      int fit = 0;
      CUDA_CHECK(cudaOccupancyMaxActiveClusters(&fit, &decode_kernel<kHeadDim, kCluster, kStages>, &config));
      clusters = std::clamp(fit, 1, clusters);
    }
    return clusters;
  }();
  return resident;
}

template <int kHeadDim, int kCluster, int kStages>
void launch(const AttentionProblem& p, const AttentionLaunch& options) {
  CHECK(options.workspace != nullptr && options.counters != nullptr);
  const int runs = resident_clusters<kHeadDim, kCluster, kStages>(options.sm_count);
  const Constants c{.num_seqs = p.num_seqs,
                    .cu_seqlens = p.cu_seqlens,
                    .context_lens = p.context_lens,
                    .block_table = p.block_table,
                    .max_blocks = p.max_blocks,
                    .num_kv_heads = p.num_kv_heads,
                    .group = p.num_heads / p.num_kv_heads,
                    .seqs_capacity = p.seqs_capacity,
                    .max_queries = p.max_queries,
                    .runs = runs,
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
  launch_kernel(&decode_kernel<kHeadDim, kCluster, kStages>, dim3(static_cast<unsigned>(runs * kCluster)), kThreads,
                sizeof(Shared<kHeadDim, kStages>), options, kCluster, c);
}

// The largest cluster for which there are runs enough for every pair.
template <int kHeadDim>
void launch_clustered(const AttentionProblem& p, const AttentionLaunch& options) {
  const int pairs = (p.tokens_capacity * (p.num_heads / p.num_kv_heads) + kRows - 1) / kRows * p.num_kv_heads;
  if (options.compute_capability >= 90) {
    if constexpr (kHeadDim == 128) {
      if (pairs <= resident_clusters<kHeadDim, 8, 3>(options.sm_count)) return launch<kHeadDim, 8, 3>(p, options);
    }
    if (pairs <= resident_clusters<kHeadDim, 4, 3>(options.sm_count)) return launch<kHeadDim, 4, 3>(p, options);
    if (pairs <= resident_clusters<kHeadDim, 2, 3>(options.sm_count)) return launch<kHeadDim, 2, 3>(p, options);
    return launch<kHeadDim, 1, 3>(p, options);
  }
  launch<kHeadDim, 1, 2>(p, options);  // three stages are more shared memory than sm_89 has
}

}  // namespace

}  // namespace decode

bool decode_can(const AttentionProblem& p) {
  return p.paged && p.dtype == DType::kBF16 && p.q_dtype == DType::kBF16 && (p.head_dim == 64 || p.head_dim == 128) &&
         p.q_stride % 8 == 0 && reinterpret_cast<uintptr_t>(p.q) % 16 == 0 && p.out_stride % 2 == 0;
}

size_t decode_workspace(const AttentionProblem& p, int sm_count) {
  const auto parts = static_cast<size_t>(2 * decode::kBlocksPerSm * sm_count);
  return parts * (p.head_dim == 64 ? sizeof(decode::Part<64>) : sizeof(decode::Part<128>));
}

size_t decode_counters(int sm_count) {
  return static_cast<size_t>(2 * decode::kBlocksPerSm * sm_count);
}

void attention_decode(const AttentionProblem& problem, const AttentionLaunch& options) {
  if (problem.head_dim == 64) {
    decode::launch_clustered<64>(problem, options);
  } else {
    decode::launch_clustered<128>(problem, options);
  }
}

}  // namespace glimpse::cuda
