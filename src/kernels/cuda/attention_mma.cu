// Attention with warp-wide products, for any bfloat16 head_dim that is a multiple of 8, on sm_80 and up.
//
// A block has a tile of 64 query rows of one kv head, 16 for each of four warps: 64 / group tokens of `group` heads,
// token by token. Tiles of keys and values come to shared memory in the background, two deep. Head dimensions are
// padded with zeros to the next size that was compiled.

#include <cuda_bf16.h>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/mma.cuh"

namespace glimpse::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kRows = 16 * kWarps;
constexpr int kThreads = 32 * kWarps;
constexpr int kStages = 2;

// Tokens of a tile of keys: what registers and 99 KB of shared memory (sm_89) allow.
constexpr int tile_tokens(int head_dim) {
  return head_dim <= 128 ? 64 : 16;
}

template <int kHeadDim>
struct Shared {  // rows padded by 16 bytes against bank conflicts
  static constexpr int kTokens = tile_tokens(kHeadDim);
  __nv_bfloat16 k[kStages][kTokens][kHeadDim + 8];
  __nv_bfloat16 v[kStages][kTokens][kHeadDim + 8];
  __nv_bfloat16 q[kRows][kHeadDim + 8];
  QueryTile tile;
};

struct Constants {
  const int32_t* num_seqs;
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks;
  int32_t num_kv_heads;
  int32_t group;
  int32_t per_tile;  // tokens
  int32_t head_dim;
  int32_t min_queries, max_queries;
  float scale_log2;
  const __nv_bfloat16* q;
  int64_t q_stride;
  const __nv_bfloat16* k;
  const __nv_bfloat16* v;
  int64_t kv_stride;
  void* out;
  int64_t out_stride;
  bool out_f32;
};

template <bool kPaged, int kHeadDim>
__global__ void __launch_bounds__(kThreads) mma_kernel(const __grid_constant__ Constants c) {
  constexpr int kTokens = tile_tokens(kHeadDim);
  constexpr int kSteps = kHeadDim / 16;
  constexpr int kChunks = kHeadDim / 8;
  extern __shared__ __align__(16) std::byte memory[];
  auto& shared = *reinterpret_cast<Shared<kHeadDim>*>(memory);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  ptx::wait_for_previous();
  if (warp == 0) {
    const QueryTile found = find_query_tile<kPaged>(c.cu_seqlens, c.context_lens, *c.num_seqs, c.min_queries,
                                                    c.max_queries, c.per_tile, static_cast<int32_t>(blockIdx.x));
    if (lane == 0) shared.tile = found;
  }
  __syncthreads();
  const QueryTile tile = shared.tile;
  if (tile.num_tokens == 0) return;

  const int rows = tile.num_tokens * c.group;
  const auto q_offset = [&](int row) {  // also of the output, with its own stride
    return kv_head * c.group * c.head_dim + row % c.group * c.head_dim;
  };
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kChunks; i += kThreads) {
    const int row = i / kChunks, chunk = i % kChunks;
    const bool present = row < rows && chunk * 8 < c.head_dim;
    copy_16(&shared.q[row][chunk * 8],
            c.q + (present ? (tile.first_token + row / c.group) * c.q_stride + q_offset(row) + chunk * 8 : 0), present);
  }
  const int32_t tiles = (tile.num_keys + kTokens - 1) / kTokens;
  const int32_t* blocks = kPaged ? c.block_table + int64_t{tile.seq} * c.max_blocks : nullptr;
  const auto bring = [&](int32_t n) {  // commits also when there is no such tile
    if (n < tiles) {
      int64_t first;  // element of the tile's first row
      int64_t step;
      if constexpr (kPaged) {
        static_assert(kKvBlockSize % kTokens == 0);
        const int32_t token = n * kTokens;
        first =
            ((int64_t{blocks[token / kKvBlockSize]} * c.num_kv_heads + kv_head) * kKvBlockSize + token % kKvBlockSize) *
            c.head_dim;
        step = c.head_dim;
      } else {
        first = (int64_t{tile.first_key} + n * kTokens) * c.kv_stride + kv_head * c.head_dim;
        step = c.kv_stride;
      }
      const int valid = tile.num_keys - n * kTokens;  // behind them zeros
      for (int i = static_cast<int>(threadIdx.x); i < kTokens * kChunks; i += kThreads) {
        const int row = i / kChunks, chunk = i % kChunks;
        const bool present = row < valid && chunk * 8 < c.head_dim;
        const int64_t at = present ? first + row * step + chunk * 8 : 0;
        copy_16(&shared.k[n % kStages][row][chunk * 8], c.k + at, present);
        copy_16(&shared.v[n % kStages][row][chunk * 8], c.v + at, present);
      }
    }
    copies_commit();
  };
  bring(0);

  int seen[2];  // keys that the lane's rows see
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    seen[r] = kPaged ? tile.first_visible + (warp * 16 + lane / 4 + 8 * r) / c.group : tile.num_keys;
  }
  float o[kHeadDim / 8][4] = {};
  WarpSoftmax<kTokens / 8> softmax;
  for (int32_t n = 0; n < tiles; ++n) {
    bring(n + 1);
    copies_wait<1>();
    __syncthreads();
    const auto& k_tile = shared.k[n % kStages];
    const auto& v_tile = shared.v[n % kStages];
    float s[kTokens / 8][4] = {};
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t q[4];
      load_matrices(q, &shared.q[warp * 16 + lane % 16][step * 16 + lane / 16 * 8]);
#pragma unroll
      for (int j = 0; j < kTokens / 16; ++j) {
        uint32_t k[4];
        load_matrices(k, &k_tile[j * 16 + lane % 8 + lane / 16 * 8][step * 16 + lane / 8 % 2 * 8]);
        multiply(s[2 * j], q, k[0], k[1]);
        multiply(s[2 * j + 1], q, k[2], k[3]);
      }
    }
    if ((n + 1) * kTokens > (kPaged ? tile.first_visible : tile.num_keys)) {
      const int key = n * kTokens + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (key + 8 * j + e % 2 >= seen[e / 2]) s[j][e] = -INFINITY;
        }
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
#pragma unroll
    for (int j = 0; j < kTokens / 16; ++j) {
      const uint32_t p[4] = {pack_bf16(s[2 * j][0], s[2 * j][1]), pack_bf16(s[2 * j][2], s[2 * j][3]),
                             pack_bf16(s[2 * j + 1][0], s[2 * j + 1][1]), pack_bf16(s[2 * j + 1][2], s[2 * j + 1][3])};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t v[4];
        load_matrices_transposed(v, &v_tile[j * 16 + lane % 16][step * 16 + lane / 16 * 8]);
        multiply(o[2 * step], p, v[0], v[1]);
        multiply(o[2 * step + 1], p, v[2], v[3]);
      }
    }
    __syncthreads();  // before the stage is filled again
  }
  copies_wait<0>();
  ptx::launch_dependents();
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float sum = softmax.row_sum(r);
    const float inverse = sum > 0 ? 1.0f / sum : 0.0f;
    const int row = warp * 16 + lane / 4 + 8 * r;
    if (row >= rows) continue;
    const int64_t at = (tile.first_token + row / c.group) * c.out_stride + q_offset(row);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      const int column = 8 * j + lane % 4 * 2;
      if (column >= c.head_dim) continue;
      const float x = o[j][2 * r] * inverse, y = o[j][2 * r + 1] * inverse;
      if (c.out_f32) {
        *reinterpret_cast<float2*>(static_cast<float*>(c.out) + at + column) = make_float2(x, y);
      } else {
        *reinterpret_cast<uint32_t*>(static_cast<__nv_bfloat16*>(c.out) + at + column) = pack_bf16(x, y);
      }
    }
  }
}

template <bool kPaged, int kHeadDim>
void launch(const AttentionProblem& p, const AttentionLaunch& options) {
  const int32_t group = p.num_heads / p.num_kv_heads;
  const Constants c{.num_seqs = p.num_seqs,
                    .cu_seqlens = p.cu_seqlens,
                    .context_lens = p.context_lens,
                    .block_table = p.block_table,
                    .max_blocks = p.max_blocks,
                    .num_kv_heads = p.num_kv_heads,
                    .group = group,
                    .per_tile = kRows / group,
                    .head_dim = p.head_dim,
                    .min_queries = p.min_queries,
                    .max_queries = p.max_queries,
                    .scale_log2 = p.scale * 1.44269504f,
                    .q = static_cast<const __nv_bfloat16*>(p.q),
                    .q_stride = p.q_stride,
                    .k = static_cast<const __nv_bfloat16*>(p.k),
                    .v = static_cast<const __nv_bfloat16*>(p.v),
                    .kv_stride = p.kv_stride,
                    .out = p.out,
                    .out_stride = p.out_stride,
                    .out_f32 = p.out_dtype == DType::kF32};
  allow_shared(&mma_kernel<kPaged, kHeadDim>, sizeof(Shared<kHeadDim>));
  const dim3 grid(static_cast<unsigned>((p.tokens_capacity + c.per_tile - 1) / c.per_tile + p.seqs_capacity),
                  static_cast<unsigned>(p.num_kv_heads));
  launch_kernel(&mma_kernel<kPaged, kHeadDim>, grid, kThreads, sizeof(Shared<kHeadDim>), options, 1, c);
}

template <bool kPaged>
void launch_padded(const AttentionProblem& p, const AttentionLaunch& options) {
  if (p.head_dim <= 32) return launch<kPaged, 32>(p, options);
  if (p.head_dim <= 64) return launch<kPaged, 64>(p, options);
  if (p.head_dim <= 96) return launch<kPaged, 96>(p, options);
  if (p.head_dim <= 128) return launch<kPaged, 128>(p, options);
  return launch<kPaged, 256>(p, options);
}

bool aligned(const void* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride % 8 == 0;
}

}  // namespace

bool mma_can(const AttentionProblem& p) {
  return p.dtype == DType::kBF16 && p.q_dtype == DType::kBF16 && p.head_dim % 8 == 0 && p.head_dim <= kMaxHeadDim &&
         p.num_heads / p.num_kv_heads <= kRows && aligned(p.q, p.q_stride) && aligned(p.k, p.kv_stride) &&
         aligned(p.v, p.kv_stride) && p.out_stride % 2 == 0;
}

void attention_mma(const AttentionProblem& problem, const AttentionLaunch& options) {
  if (problem.paged) {
    launch_padded<true>(problem, options);
  } else {
    launch_padded<false>(problem, options);
  }
}

}  // namespace glimpse::cuda
