#include <algorithm>

#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/matmul_wide_i4.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/wgmma.cuh"

// Int4 products of many rows of x: y^T = W x^T, with W as the left operand of wgmma, which may come from registers.
//
// A CTA makes a tile of 128 rows of W and 128 rows of x. One warp brings W with the bulk copy engine, 1,024
// columns with their scales at a time; another x through the tensor copy engine, 64 columns at a time. Two
// warpgroups own 64 rows of W each: a lane reads its nibbles in the order of the instruction's registers (i4_layout.h)
// and widens those of the next 64 columns to bf16 while the tensor cores work on these. Tiles are too few for the card
// when N or the rows of x are: then a cluster of CTAs shares a tile, each with a part of K, and the parts are added in
// the order of their ranks through distributed shared memory.
//
// Here (q - zero) * scale is rounded to bf16 before the product, and the scale itself to bf16; the skinny kernel has
// neither rounding.

namespace glimpse::cuda {

namespace {

using wide_i4::Turn;
using wide_i4::Words;

constexpr int kRowTile = 128;
template <bool kGateUp>
constexpr int kTileUnits = kGateUp ? kRowTile / 2 : kRowTile;
constexpr int kConsumers = 256;
// Of W in a stage, as in memory: gate rows, up rows, headers of gate rows, headers of up rows.
constexpr int kHeadersAt = kRowTile * i4::kChunkBytes;
constexpr int kWeightStage = kHeadersAt + kRowTile * i4::header_bytes(true);
constexpr int kSumPitch = kRowTile + 4;  // of the tile of sums, in floats
constexpr int kMaxSplit = 4;

constexpr int kTokens = 128;  // rows of x of a tile
constexpr int kWeightStages = 2;
constexpr int kXStages = 5;
constexpr int kXStage = kTokens * 128;         // bytes: 64 columns
constexpr int kThreads = kConsumers + 2 * 32;  // a warp for W, one for x
constexpr int kShared = kXStages * kXStage + kWeightStages * kWeightStage + 1024;

struct Params : ProductParams {
  int32_t groups;
  int32_t chunks;
  int32_t token_tiles;
  int32_t tiles;
  int32_t split;
  bool zero_points;
};

// Where the two rows of a lane lie in a stage: `values` of the next group of the first, headers of the first; the
// second row is `apart` behind, counted in values. Odd rows have groups exchanged by pairs: `flip` is 64 there, else 0.
struct RowPlace {
  uint32_t values;
  uint32_t headers;
  uint32_t apart;
  uint32_t headers_apart;
  uint32_t flip[2];
};

[[maybe_unused]] __device__ __forceinline__ void load_words(Words& words, RowPlace& row, int group, bool zero_points) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    words.load(h, (row.values ^ row.flip[h]) + h * row.apart, row.headers + h * row.headers_apart, group, zero_points);
  }
  row.values += i4::kGroupBytes;
}

template <bool kGateUp>
__global__ void __launch_bounds__(kThreads, 1)
    wide_kernel(const __grid_constant__ Params p, const __grid_constant__ CUtensorMap x_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[2 * (kWeightStages + kXStages)];
  const uint32_t x_ring = (ptx::shared_address(shared) + 1023) & ~1023u;
  const uint32_t w_ring = x_ring + kXStages * kXStage;
  auto* sums = reinterpret_cast<float*>(shared + (w_ring - ptx::shared_address(shared)));  // after the last product
  const uint32_t w_full = ptx::shared_address(barriers);
  const uint32_t w_empty = w_full + 8 * kWeightStages;
  const uint32_t x_full = w_empty + 8 * kWeightStages;
  const uint32_t x_empty = x_full + 8 * kXStages;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  const int lane = threadIdx.x % 32;
  const int rank = blockIdx.x % p.split;
  const int first_tile = blockIdx.x / p.split;
  const int tile_step = gridDim.x / p.split;
  const int first_chunk = p.chunks * rank / p.split;
  const int end_chunk = p.chunks * (rank + 1) / p.split;
  const int first_group = first_chunk * i4::kChunkGroups;
  const int end_group = min(p.groups, end_chunk * i4::kChunkGroups);

  ptx::launch_dependents();
  if (threadIdx.x == 0) {
    for (int i = 0; i < kWeightStages; ++i) {
      ptx::barrier_init(w_full + 8 * i, 1);
      ptx::barrier_init(w_empty + 8 * i, kConsumers / 32 * ptx::kWarpArrivals);
    }
    for (int i = 0; i < kXStages; ++i) {
      ptx::barrier_init(x_full + 8 * i, 1);
      ptx::barrier_init(x_empty + 8 * i, kConsumers / 32);
    }
    ptx::barrier_init_fence();
  }
  __syncthreads();

  if (warp > kConsumers / 32) {
    // W. Rows that a tile lacks keep what was there; nobody reads their sums.
    const bool leader = ptx::elect_one();
    const uint64_t policy = ptx::policy_evict_last();
    Turn<kWeightStages> turn{.parity = 1};
    for (int tile = first_tile; tile < p.tiles; tile += tile_step) {
      const int first_unit = tile / p.token_tiles * kTileUnits<kGateUp>;
      const int units = min(kTileUnits<kGateUp>, p.units - first_unit);
      for (int chunk = first_chunk; chunk < end_chunk; ++chunk, turn.advance()) {
        ptx::barrier_wait(w_empty + 8 * turn.stage, turn.parity);
        const uint32_t barrier = w_full + 8 * turn.stage;
        const auto copy = [&](uint32_t to, int64_t from, uint32_t bytes, uint32_t up_to) {
          ptx::bulk_copy(to, p.w + from, units * bytes, barrier, policy);
          if (kGateUp) {
            ptx::bulk_copy(to + up_to, p.w + from + static_cast<int64_t>(p.units) * bytes, units * bytes, barrier,
                           policy);
          }
        };
        const uint32_t row_bytes = i4::chunk_groups(p.k, chunk) * i4::kGroupBytes;
        const uint32_t header_bytes = i4::header_bytes(p.zero_points);
        const uint32_t ring = w_ring + turn.stage * kWeightStage;
        if (leader) {
          ptx::barrier_arrive_expect(barrier, units * (kGateUp ? 2 : 1) * (row_bytes + header_bytes));
          copy(ring, i4::values_at(p.n, p.k, first_unit, chunk), row_bytes, kRowTile / 2 * row_bytes);
          copy(ring + kHeadersAt, i4::header_at(p.n, p.k, first_unit, chunk, p.zero_points), header_bytes,
               kRowTile / 2 * header_bytes);
        }
      }
    }
  } else if (warp == kConsumers / 32) {
    if (ptx::elect_one()) {
      ptx::wait_for_previous();
      Turn<kXStages> turn{.parity = 1};
      for (int tile = first_tile; tile < p.tiles; tile += tile_step) {
        for (int half = 2 * first_group; half < 2 * end_group; ++half, turn.advance()) {
          ptx::barrier_wait(x_empty + 8 * turn.stage, turn.parity);
          ptx::barrier_arrive_expect(x_full + 8 * turn.stage, kXStage);
          ptx::tensor_copy(x_ring + turn.stage * kXStage, &x_map, half * 64, tile % p.token_tiles * kTokens,
                           x_full + 8 * turn.stage);
        }
      }
    }
    __syncwarp();
  } else {
    const int first_row = warp * (kGateUp ? 8 : 16) + lane / 4;
    constexpr int kApart = kGateUp ? kRowTile / 2 : 8;  // rows between a lane's two
    Turn<kWeightStages> w_turn;
    Turn<kXStages> x_turn;
    for (int tile = first_tile; tile < p.tiles; tile += tile_step) {
      float acc[kTokens / 2] = {};
      uint32_t before = 0;  // the barrier of the stage whose products may still run
      uint32_t a[2][4][4];
      const int unit = tile / p.token_tiles * kTileUnits<kGateUp> + lane / 4;
      for (int chunk = first_chunk; chunk < end_chunk; ++chunk, w_turn.advance()) {
        ptx::barrier_wait(w_full + 8 * w_turn.stage, w_turn.parity);
        const uint32_t w = w_ring + w_turn.stage * kWeightStage;
        const int groups = i4::chunk_groups(p.k, chunk);
        const uint32_t flip = groups % 2 == 0 ? i4::kGroupBytes : 0;
        const int header_bytes = i4::header_bytes(p.zero_points);
        RowPlace row = {.values = w + first_row * groups * i4::kGroupBytes + lane % 4 * 16,
                        .headers = w + kHeadersAt + first_row * header_bytes,
                        .apart = static_cast<uint32_t>(kApart * groups * i4::kGroupBytes),
                        .headers_apart = static_cast<uint32_t>(kApart * header_bytes),
                        .flip = {unit % 2 * flip, (unit + (kGateUp ? p.units : 0)) % 2 * flip}};
        for (int g = 0; g < groups; ++g) {
          Words words;
          load_words(words, row, g, p.zero_points);
#pragma unroll
          for (int half = 0; half < 2; ++half, x_turn.advance()) {
#pragma unroll
            for (int step = 0; step < 4; ++step) words.widen(a[half][step], half * 4 + step);
            ptx::barrier_wait(x_full + 8 * x_turn.stage, x_turn.parity);
            const uint32_t x = x_ring + x_turn.stage * kXStage;
            wgmma::fence();
#pragma unroll
            for (int step = 0; step < 4; ++step) {
              wgmma::multiply(acc, a[half][step], wgmma::swizzled_128(x + step * 32));
            }
            wgmma::commit();
            wgmma::wait<1>();  // the products of the 64 columns before are done: their registers and x are free
            if (lane == 0 && before != 0) ptx::barrier_arrive(before);
            before = x_empty + 8 * x_turn.stage;
          }
        }
        ptx::barrier_arrive_warp(w_empty + 8 * w_turn.stage, lane);
      }
      wgmma::wait<0>();
      if (lane == 0) ptx::barrier_arrive(before);
      if (p.split == 1) {
        const int first_unit = tile / p.token_tiles * kTileUnits<kGateUp>;
        wide_i4::store_tile<kTokens, kGateUp>(p, acc, first_unit, min(kTileUnits<kGateUp>, p.units - first_unit),
                                              tile % p.token_tiles * kTokens, warp, lane);
        continue;
      }
      // All of W has been read by all warps before the tile of sums overwrites it.
      ptx::named_barrier(1, kConsumers);
      wide_i4::put_sums<kSumPitch>(sums, acc, warp, lane);
    }
  }
  if (p.split == 1) return;
  ptx::cluster_sync();
  // Each CTA of the cluster finishes its share of the tile's rows of x.
  constexpr int kUnits = kTileUnits<kGateUp>;
  const int begin = kTokens * rank / p.split;
  const int end = kTokens * (rank + 1) / p.split;
  const int first_unit = first_tile / p.token_tiles * kTileUnits<kGateUp>;
  const int units = min(kTileUnits<kGateUp>, p.units - first_unit);
  const int first_token = first_tile % p.token_tiles * kTokens;
  const int count = used_rows(p) - first_token;
  const uint32_t base = ptx::shared_address(sums);
  const auto total = [&](int row, int token) {
    const uint32_t at = base + (token * kSumPitch + row) * 4;
    return wide_i4::cluster_sum<kMaxSplit>(at, p.split);
  };
#pragma unroll 4
  for (int i = threadIdx.x; i < (end - begin) * kUnits; i += kThreads) {
    const int token = begin + i / kUnits;
    const int slot = i % kUnits;
    if (token >= count || slot >= units) continue;
    const int unit = first_unit + slot;
    float value;
    if constexpr (kGateUp) {
      const int row = slot / 8 * 16 + slot % 8;
      value = wide_i4::gated(p, total(row, token), total(row + 8, token), unit);
    } else {
      value = total(slot, token) + (p.bias == nullptr ? 0.0f : p.bias[unit]);
    }
    wide_i4::store(p, first_token + token, unit, value);
  }
  ptx::cluster_sync();  // nobody leaves while its sums are being read
#endif
}

template <bool kGateUp>
cudaError_t launch(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                   cudaStream_t stream) {
  static_assert(kTokens * kSumPitch * 4 <= kWeightStages * kWeightStage && kShared <= kMaxShared);
  Params p = {product_params(weight, operands)};
  p.groups = weight.k / i4::kGroup;
  p.chunks = (p.groups + i4::kChunkGroups - 1) / i4::kChunkGroups;
  p.token_tiles = (operands.rows + kTokens - 1) / kTokens;
  p.zero_points = weight.zero_points;
  p.tiles = (p.units + kTileUnits<kGateUp> - 1) / kTileUnits<kGateUp> * p.token_tiles;
  // The split with the least time: rounds of CTAs, each a part of K and, in groups of work, about three for its
  // beginning and end, and more where parts have to be added.
  const int slots = device.num_sms;
  double best = 1e30;
  for (int split = 1; split <= std::min(kMaxSplit, p.chunks); ++split) {
    const int rounds = (p.tiles * split + slots - 1) / slots;
    const double cost = rounds * ((p.chunks + split - 1) / split * i4::kChunkGroups + (split == 1 ? 3.0 : 8.0));
    if (cost < best) {
      best = cost;
      p.split = split;
    }
  }
  const CUtensorMap x_map =
      tensor_map<2>(operands.x, {static_cast<uint64_t>(weight.k), static_cast<uint64_t>(operands.rows)},
                    {static_cast<uint64_t>(operands.x_stride) * 2}, {64, kTokens});
  const int grid = p.split == 1 ? std::min(p.tiles, slots) : p.tiles * p.split;
  return ProductLaunch(grid, kThreads, kShared, p.split, stream).run(wide_kernel<kGateUp>, p, x_map);
}

}  // namespace

bool wide_i4_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  return weight.format == MatmulFormat::kI4 && device.arch == 90 && operands.rows >= 1 && weight.k % i4::kGroup == 0 &&
         operands.x_stride % 8 == 0 && reinterpret_cast<uintptr_t>(operands.x) % 16 == 0;
}

cudaError_t matmul_wide_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                           cudaStream_t stream) {
  return weight.gate_up ? launch<true>(weight, operands, device, stream)
                        : launch<false>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda
