// Attention with Hopper's warpgroup products, for bfloat16 and head_dim 128.
//
// A block has one tile of 128 query rows of one kv head: 128 tokens of a head, or with grouped heads 128 / group tokens
// of `group` heads, token by token. One warp keeps the copy engine busy with tiles of keys and values, two deep; two
// warpgroups of 64 rows each compute. They see the tiles from last to first, so that what needs a mask comes first.
//
//   a step of a warpgroup:   S' = Q K'        (tensor cores, started)
//                            O += P V         (tensor cores, started; P is the last step's, in registers)
//                            P' = 2^(S' - max) while O is still being added to
//   and the two take turns:  one starts its products while the other does its exponentials (named barriers 1 and 2).
//
// The scheme is FlashAttention-3's (Shah et al., 2024, sections 3.1 and 3.2).
//
// Rows of V behind the last token are zeroed in shared memory: they hold anything, and 0 x NaN is NaN.

#include <cuda_bf16.h>

#include "kernels/cuda/attention_kernels.h"
#include "kernels/cuda/attention_launch.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/tensor_map.h"

namespace glimpse::cuda {

namespace {

constexpr int kHeadDim = 128;
constexpr int kRows = 128;            // query rows of a block
constexpr int kStages = 2;            // tiles of keys, and of values, in flight
constexpr int kThreads = 384;         // a warpgroup that copies, two that compute
constexpr int kPanelQ = kRows * 128;  // bytes of 64 columns; a tile is two panels
constexpr int kVarlenTokens = 176;    // tokens of a tile of keys: as many as registers allow
constexpr int kPagedTokens = 2 * kKvBlockSize;

enum NamedBarrier { kTurn = 1, kZeroed = 3, kRowsDone = 4 };  // kTurn and kRowsDone: one for each warpgroup

template <int kTokens>
struct Shared {
  alignas(1024) std::byte q[2 * kPanelQ];
  alignas(1024) std::byte k[kStages][2 * kTokens * 128];
  alignas(1024) std::byte v[kStages][2 * kTokens * 128];
  uint64_t q_full, k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
  QueryTile tile;
};

struct Constants {
  const int32_t* num_seqs;
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks;
  int32_t num_kv_heads;
  int32_t group_shift;  // log2 of query heads per kv head
  int32_t min_queries;
  int32_t k_column, v_column;  // varlen: first columns of keys and values in the map
  float scale_log2;
  void* out;
  int64_t out_stride;
  bool out_f32;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The copying warp: one thread of it.
template <bool kPaged, int kTokens>
__device__ void copy_tiles(Shared<kTokens>& shared, const CUtensorMap& q_map, const CUtensorMap& k_map,
                           const CUtensorMap& v_map, const Constants& c, const QueryTile& tile, int32_t kv_head) {
  constexpr int kPanel = kTokens * 128;
  barrier_arrive_expect(&shared.q_full, 2 * kPanelQ);
  for (int panel = 0; panel < 2; ++panel) {
    if constexpr (kPaged) {
      copy_3d(shared.q + panel * kPanelQ, &q_map, &shared.q_full, panel * 64, kv_head << c.group_shift,
              tile.first_token);
    } else {
      copy_2d(shared.q + panel * kPanelQ, &q_map, &shared.q_full, kv_head * kHeadDim + panel * 64, tile.first_token);
    }
  }
  const int32_t* blocks = kPaged ? c.block_table + int64_t{tile.seq} * c.max_blocks : nullptr;
  const int32_t num_blocks = (tile.num_keys + kKvBlockSize - 1) / kKvBlockSize;
  int stage = 0;
  uint32_t parity = 1;  // the first round finds empty stages
  const auto bring = [&](const CUtensorMap& map, std::byte* dst, uint64_t* full, int n, int32_t column,
                         const int32_t(&rows)[2]) {
    if constexpr (kPaged) {
      const int present = min(2, num_blocks - 2 * n);
      barrier_arrive_expect(full, present * 2 * kKvBlockSize * 128);
      for (int b = 0; b < present; ++b) {
        for (int panel = 0; panel < 2; ++panel) {
          copy_2d(dst + panel * kPanel + b * kKvBlockSize * 128, &map, full, panel * 64, rows[b]);
        }
      }
    } else {
      barrier_arrive_expect(full, 2 * kPanel);
      for (int panel = 0; panel < 2; ++panel) {
        copy_2d(dst + panel * kPanel, &map, full, column + kv_head * kHeadDim + panel * 64,
                tile.first_key + n * kTokens);
      }
    }
  };
  const auto rows_of = [&](int n, int32_t(&rows)[2]) {
    if constexpr (kPaged) {
      for (int b = 0; b < 2; ++b) {
        const int32_t at = 2 * n + b;
        rows[b] = n >= 0 && at < num_blocks ? (__ldg(blocks + at) * c.num_kv_heads + kv_head) * kKvBlockSize : 0;
      }
    }
  };
  int32_t rows[2] = {}, next[2] = {};
  int n = (tile.num_keys + kTokens - 1) / kTokens - 1;
  rows_of(n, next);
  for (; n >= 0; --n) {
    rows[0] = next[0];
    rows[1] = next[1];
    rows_of(n - 1, next);
    barrier_wait(&shared.k_empty[stage], parity);
    bring(k_map, shared.k[stage], &shared.k_full[stage], n, c.k_column, rows);
    barrier_wait(&shared.v_empty[stage], parity);
    bring(v_map, shared.v[stage], &shared.v_full[stage], n, c.v_column, rows);
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
}

template <bool kPaged, int kTokens>
struct Consumer {
  static constexpr int kPanel = kTokens * 128;

  Shared<kTokens>& shared;
  const int group;  // which of the two warpgroups
  const int lane;
  float o[64] = {};
  float s[kTokens / 2];
  uint32_t p[kTokens / 4];
  float max[2] = {-INFINITY, -INFINITY};
  float sum[2] = {};

  // s = Q K, started.
  __device__ __forceinline__ void start_scores(int stage) {
    const uint64_t q = product_operand(shared.q + group * 64 * 128, 16, 1024);
    const uint64_t k = product_operand(shared.k[stage], 16, 1024);
    product_ss<false>(s, q, k);
#pragma unroll
    for (int step = 1; step < kHeadDim / 16; ++step) {
      const int at = step % 4 * 32;
      product_ss<true>(s, q + (step / 4 * kPanelQ + at) / 16, k + (step / 4 * kPanel + at) / 16);
    }
    product_commit();
  }

  // o += P V, started.
  __device__ __forceinline__ void start_sums(int stage) {
    const uint64_t v = product_operand(shared.v[stage], kPanel, 1024);
#pragma unroll
    for (int step = 0; step < kTokens / 16; ++step) {
      product_rs(o, p[4 * step], p[4 * step + 1], p[4 * step + 2], p[4 * step + 3], v + step * 16 * 128 / 16);
    }
    product_commit();
  }

  // Keys from `limit0` (and limit1 for the row eight further down) on are not seen.
  __device__ __forceinline__ void mask(int limit0, int limit1) {
    const int column = lane % 4 * 2;
#pragma unroll
    for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        if (8 * j + column + i >= limit0) s[4 * j + i] = -INFINITY;
        if (8 * j + column + i >= limit1) s[4 * j + 2 + i] = -INFINITY;
      }
    }
  }

  // s = 2^(scale (s - max)), sums updated; what o has to be multiplied by goes to `correction`.
  __device__ __forceinline__ void soften(float scale_log2, float (&correction)[2]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float top = max[r];
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) top = fmaxf(top, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 1));
      top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, 2));
      // A row that has seen nothing yet: any finite maximum does.
      const float base = kPaged && top == -INFINITY ? 0.0f : top * scale_log2;
      correction[r] = power_of_two(fmaf(max[r], scale_log2, -base));
      max[r] = top;
      float total = 0;
#pragma unroll
      for (int j = 0; j < kTokens / 8; ++j) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& x = s[4 * j + 2 * r + i];
          x = power_of_two(fmaf(x, scale_log2, -base));
          total += x;
        }
      }
      sum[r] = fmaf(sum[r], correction[r], total);
    }
  }

  __device__ __forceinline__ void round_weights() {
#pragma unroll
    for (int i = 0; i < kTokens / 4; ++i) p[i] = pack_bf16(s[2 * i], s[2 * i + 1]);
  }

  __device__ __forceinline__ void correct(const float (&correction)[2]) {
#pragma unroll
    for (int i = 0; i < 64; ++i) o[i] *= correction[i / 2 % 2];
  }

  __device__ __forceinline__ void zero_values_from(int stage, int token) {
    const int chunks = (kTokens - token) * 8;  // of 16 bytes, in each panel
    for (int i = threadIdx.x - 128; i < 2 * chunks; i += 256) {
      std::byte* panel = shared.v[stage] + (i >= chunks ? kPanel : 0);
      reinterpret_cast<uint4*>(panel)[token * 8 + (i >= chunks ? i - chunks : i)] = make_uint4(0, 0, 0, 0);
    }
    fence_shared_for_async();
    ptx::named_barrier(kZeroed, 256);
  }

  __device__ __forceinline__ void release(uint64_t* empty) {
    if (lane == 0) barrier_arrive(empty);
  }

  __device__ void run(const Constants& c, const QueryTile& tile, int32_t kv_head) {
    const int warp = threadIdx.x / 32 % 4;
    const int row = group * 64 + warp * 16 + lane / 4;  // and 8 further down
    const int tiles = (tile.num_keys + kTokens - 1) / kTokens;
    // How many keys each row sees; the first row sees the fewest.
    const int seen0 = kPaged ? tile.first_visible + (row >> c.group_shift) : tile.num_keys;
    const int seen1 = kPaged ? tile.first_visible + ((row + 8) >> c.group_shift) : tile.num_keys;
    const int seen_by_all = kPaged ? tile.first_visible : tile.num_keys;

    float correction[2];
    int n = tiles - 1;
    barrier_wait(&shared.q_full, 0);
    barrier_wait(&shared.k_full[0], 0);
    product_fence();
    start_scores(0);
    product_wait<0>();
    release(&shared.k_empty[0]);
    pin_registers(s);
    mask(seen0 - n * kTokens, seen1 - n * kTokens);
    soften(c.scale_log2, correction);
    round_weights();
    if (tile.num_keys < tiles * kTokens) {
      barrier_wait(&shared.v_full[0], 0);
      zero_values_from(0, tile.num_keys - n * kTokens);
    }

    if (group == 1) ptx::named_barrier_arrive(kTurn, 256);
    int stage = 0;  // of the values to be added; the keys are one further
    uint32_t parity = 0;
    for (--n; n >= 0; --n) {
      const int k_stage = stage ^ 1;
      const uint32_t k_parity = parity ^ static_cast<uint32_t>(stage);
      barrier_wait(&shared.k_full[k_stage], k_parity);
      ptx::named_barrier(kTurn + group, 256);
      product_fence();
      start_scores(k_stage);
      barrier_wait(&shared.v_full[stage], parity);
      product_fence();
      start_sums(stage);
      if (group == 0 || n > 0) ptx::named_barrier_arrive(kTurn + (group ^ 1), 256);
      product_wait<1>();
      release(&shared.k_empty[k_stage]);
      pin_registers(s);
      if (kPaged && (n + 1) * kTokens > seen_by_all) mask(seen0 - n * kTokens, seen1 - n * kTokens);
      soften(c.scale_log2, correction);
      product_wait<0>();
      release(&shared.v_empty[stage]);
      pin_registers(o);
      round_weights();
      correct(correction);
      parity ^= static_cast<uint32_t>(stage);
      stage ^= 1;
    }
    barrier_wait(&shared.v_full[stage], parity);
    product_fence();
    start_sums(stage);
    product_wait<0>();
    pin_registers(o);
    ptx::launch_dependents();
    store(c, tile, kv_head, warp);
  }

  __device__ __forceinline__ void store(const Constants& c, const QueryTile& tile, int32_t kv_head, int warp) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
      sum[r] = sum[r] > 0 ? 1.0f / sum[r] : 0.0f;
    }
    const int first_head = kv_head << c.group_shift;
    const int per_token = (1 << c.group_shift) - 1;
    const auto address = [&](int row) {  // of the row's head, in elements
      return int64_t{tile.first_token + (row >> c.group_shift)} * c.out_stride +
             (first_head + (row & per_token)) * kHeadDim;
    };
    const int rows = tile.num_tokens << c.group_shift;
    if (c.out_f32) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int row = group * 64 + warp * 16 + lane / 4 + 8 * r;
        if (row >= rows) continue;
        float* out = static_cast<float*>(c.out) + address(row) + lane % 4 * 2;
#pragma unroll
        for (int j = 0; j < 16; ++j) {
          *reinterpret_cast<float2*>(out + 8 * j) =
              make_float2(o[4 * j + 2 * r] * sum[r], o[4 * j + 2 * r + 1] * sum[r]);
        }
      }
      return;
    }
    // Through this warpgroup's rows of Q, in the same swizzle, so that whole rows are written.
    std::byte* rows_here = shared.q + group * 64 * 128;
    ptx::named_barrier(kRowsDone + group, 128);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int row = warp * 16 + lane / 4 + 8 * r;
#pragma unroll
      for (int j = 0; j < 16; ++j) {
        const int at = j / 8 * kPanelQ + row * 128 + (j % 8 ^ row % 8) * 16 + lane % 4 * 4;
        *reinterpret_cast<uint32_t*>(rows_here + at) =
            pack_bf16(o[4 * j + 2 * r] * sum[r], o[4 * j + 2 * r + 1] * sum[r]);
      }
    }
    ptx::named_barrier(kRowsDone + group, 128);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int index = i * 128 + threadIdx.x % 128;
      const int row = index / 16, chunk = index % 16;
      if (group * 64 + row >= rows) continue;
      const int at = chunk / 8 * kPanelQ + row * 128 + (chunk % 8 ^ row % 8) * 16;
      *reinterpret_cast<uint4*>(static_cast<__nv_bfloat16*>(c.out) + address(group * 64 + row) + chunk * 8) =
          *reinterpret_cast<const uint4*>(rows_here + at);
    }
  }
};

// Queries that see nothing.
__device__ void store_zeros(const Constants& c, const QueryTile& tile, int32_t kv_head) {
  const int width = kHeadDim << c.group_shift;
  for (int i = threadIdx.x; i < tile.num_tokens * width; i += kThreads) {
    const int64_t at = int64_t{tile.first_token + i / width} * c.out_stride + kv_head * width + i % width;
    if (c.out_f32) {
      static_cast<float*>(c.out)[at] = 0;
    } else {
      static_cast<__nv_bfloat16*>(c.out)[at] = __float2bfloat16(0);
    }
  }
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

template <bool kPaged, int kTokens>
__global__ void __launch_bounds__(kThreads, 1)
    wgmma_kernel(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                 const __grid_constant__ CUtensorMap v_map, const __grid_constant__ Constants c) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ std::byte memory[];
  auto& shared = *reinterpret_cast<Shared<kTokens>*>((reinterpret_cast<uintptr_t>(memory) + 1023) & ~uintptr_t{1023});
  const int warp = __shfl_sync(0xffffffff, static_cast<int>(threadIdx.x / 32), 0);  // so that it is known to be uniform
  if (threadIdx.x == 32) {
    barrier_init(&shared.q_full, 1);
    for (int i = 0; i < kStages; ++i) {
      barrier_init(&shared.k_full[i], 1);
      barrier_init(&shared.v_full[i], 1);
      barrier_init(&shared.k_empty[i], 8);  // a lane of each computing warp
      barrier_init(&shared.v_empty[i], 8);
    }
    barrier_init_fence();
    ptx::prefetch_map(&q_map);
    ptx::prefetch_map(&k_map);
    ptx::prefetch_map(&v_map);
  }
  ptx::wait_for_previous();
  if (warp == 0) {
    const QueryTile tile = find_query_tile<kPaged>(c.cu_seqlens, c.context_lens, *c.num_seqs, c.min_queries, INT32_MAX,
                                                   kRows >> c.group_shift, static_cast<int32_t>(blockIdx.x));
    if (threadIdx.x == 0) shared.tile = tile;
  }
  __syncthreads();
  const QueryTile tile = shared.tile;
  const auto kv_head = static_cast<int32_t>(blockIdx.y);
  if (tile.num_tokens == 0) return;
  if (tile.num_keys == 0) {
    store_zeros(c, tile, kv_head);
    return;
  }
  if (warp < 4) {
    give_registers<40>();
    if (threadIdx.x == 0) copy_tiles<kPaged>(shared, q_map, k_map, v_map, c, tile, kv_head);
  } else {
    take_registers<232>();
    Consumer<kPaged, kTokens> consumer{shared, warp / 4 - 1, static_cast<int>(threadIdx.x % 32)};
    consumer.run(c, tile, kv_head);
  }
#endif
}

template <bool kPaged, int kTokens>
void launch(const AttentionProblem& p, const AttentionLaunch& launch) {
  int group_shift = 0;
  while (p.num_kv_heads << group_shift < p.num_heads) ++group_shift;
  const auto group = uint32_t{1} << group_shift;
  const auto heads = static_cast<uint64_t>(p.num_heads);
  const auto tokens = static_cast<uint64_t>(p.tokens_capacity);
  CUtensorMap q_map, k_map, v_map;
  Constants c{.num_seqs = p.num_seqs,
              .cu_seqlens = p.cu_seqlens,
              .context_lens = p.context_lens,
              .block_table = p.block_table,
              .max_blocks = p.max_blocks,
              .num_kv_heads = p.num_kv_heads,
              .group_shift = group_shift,
              .min_queries = p.min_queries,
              .scale_log2 = p.scale * 1.44269504f,
              .out = p.out,
              .out_stride = p.out_stride,
              .out_f32 = p.out_dtype == DType::kF32};
  const auto q_stride = static_cast<uint64_t>(p.q_stride) * 2;
  if constexpr (kPaged) {
    q_map = tensor_map<3>(p.q, {kHeadDim, heads, tokens}, {kHeadDim * 2, q_stride}, {64, group, kRows / group});
    const auto rows = static_cast<uint64_t>(p.num_blocks) * p.num_kv_heads * kKvBlockSize;
    k_map = tensor_map<2>(p.k, {kHeadDim, rows}, {kHeadDim * 2}, {64, kKvBlockSize});
    v_map = tensor_map<2>(p.v, {kHeadDim, rows}, {kHeadDim * 2}, {64, kKvBlockSize});
  } else {
    const auto kv_stride = static_cast<uint64_t>(p.kv_stride) * 2;
    q_map = tensor_map<2>(p.q, {heads * kHeadDim, tokens}, {q_stride}, {64, kRows});
    k_map = tensor_map<2>(p.k, {heads * kHeadDim, tokens}, {kv_stride}, {64, kTokens});
    v_map = tensor_map<2>(p.v, {heads * kHeadDim, tokens}, {kv_stride}, {64, kTokens});
  }
  const size_t bytes = sizeof(Shared<kTokens>) + 1024;
  allow_shared(&wgmma_kernel<kPaged, kTokens>, bytes);
  const int32_t per_tile = kRows >> group_shift;
  const dim3 grid(static_cast<unsigned>((p.tokens_capacity + per_tile - 1) / per_tile + p.seqs_capacity),
                  static_cast<unsigned>(p.num_kv_heads));
  launch_kernel(&wgmma_kernel<kPaged, kTokens>, grid, kThreads, bytes, launch, 1, q_map, k_map, v_map, c);
}

bool aligned(const void* p, int64_t stride) {
  return reinterpret_cast<uintptr_t>(p) % 16 == 0 && stride % 8 == 0;
}

}  // namespace

bool wgmma_can(const AttentionProblem& p, int compute_capability) {
  const int32_t group = p.num_heads / p.num_kv_heads;
  return compute_capability == 90 && p.dtype == DType::kBF16 && p.q_dtype == DType::kBF16 && p.head_dim == kHeadDim &&
         group <= 64 && (group & (group - 1)) == 0 && aligned(p.q, p.q_stride) && aligned(p.k, p.kv_stride) &&
         aligned(p.v, p.kv_stride) && aligned(p.out, p.out_stride);
}

void attention_wgmma(const AttentionProblem& problem, const AttentionLaunch& options) {
  if (problem.paged) {
    launch<true, kPagedTokens>(problem, options);
  } else {
    launch<false, kVarlenTokens>(problem, options);
  }
}

}  // namespace glimpse::cuda
