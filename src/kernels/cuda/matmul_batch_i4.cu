#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <atomic>

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_skinny_common.cuh"
#include "kernels/cuda/matmul_wide_i4.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/wgmma.cuh"

// Int4 products of 17 to 128 rows of x, a decode batch's: y^T = W x^T, with W as the left operand of wgmma.
//
// Here memory, tensor cores and the widening of W each take about as long, so all three have to overlap. One CTA has an
// SM for itself and makes a tile of up to 256 rows of W and all rows of x: x is brought once for all four warpgroups of
// 64 rows that multiply. One warp copies W, 256 columns at a time (a row's values of two groups are 128 bytes) and,
// where a chunk of 1,024 begins, its headers; another copies x, 128 columns at a time, in the swizzle that wgmma reads.
// The ring of weights is filled before griddepcontrol.wait, as in the skinny kernels.
//
// Tiles are too few for the card where N is small: then a cluster of up to eight CTAs shares a tile, each with a part
// of K, and the parts are added in the order of their ranks through distributed shared memory.
//
// (q - zero) * scale is rounded to bf16 before the product, as in matmul_wide_i4.cu.

namespace glimpse::cuda {

namespace {

using wide_i4::Turn;
using wide_i4::Words;

constexpr int kWarpgroups = 4;  // that multiply
constexpr int kConsumers = kWarpgroups * 128;
constexpr int kThreads = kConsumers + 128;  // one more warpgroup copies
constexpr int kTileRows = kWarpgroups * 64;
constexpr int kStageGroups = 2;                              // of W
constexpr int kStageBytes = kStageGroups * i4::kGroupBytes;  // of a row
constexpr int kChunkStages = i4::kChunkGroups / kStageGroups;
constexpr int kGroupSteps = i4::kGroup / 16;
// Products of a warp that may be unfinished while it widens the next one's W.
template <int kTokens>
constexpr int kPending = kTokens == 128 ? 1 : 3;  // registers lack for more
constexpr int kMaxSplit = 8;
constexpr int kSumPitch = kTileRows + 4;  // of the tile of sums, in floats
constexpr int kWeightStages = 4;
constexpr int kWeightStage = kTileRows * kStageBytes;

template <int kTokens>
struct XRing {
  static constexpr int kHalf = kTokens * 128;  // 64 columns
  static constexpr int kStage = 2 * kHalf;     // a group
  static constexpr int kStages = 256 / kTokens;
};

template <int kTokens, bool kZeros>
constexpr int kShared = kWeightStages * (kWeightStage + kTileRows * i4::header_bytes(kZeros)) +
                        XRing<kTokens>::kStages * XRing<kTokens>::kStage + 1024;

struct Params : ProductParams {
  int32_t stages;
  int32_t tiles;
  int32_t tile_units;
  int32_t split;
  bool through_shared;  // no CTA has more than one tile
};

struct Maps {
  CUtensorMap x;
  CUtensorMap w;     // the values of whole chunks, 512 bytes a row, chunk after chunk
  CUtensorMap tail;  // those of a shorter last chunk
};

// The barriers and the part of K of this CTA.
struct Cta {
  uint32_t x_ring;
  uint32_t w_ring;
  uint32_t headers;
  uint32_t w_full;
  uint32_t w_empty;
  uint32_t x_full;
  uint32_t x_empty;
  int first_stage;
  int end_stage;
  int first_tile;
  int tile_step;
};

template <bool kGateUp, bool kZeros>
__device__ __forceinline__ void copy_weights(const Params& p, const Maps& maps, const Cta& cta) {
  constexpr int kHeader = i4::header_bytes(kZeros);
  const uint64_t policy = ptx::policy_evict_first();
  const int whole_chunks = p.k / i4::kChunk;
  const uint32_t values_bytes = (kGateUp ? 2 : 1) * p.tile_units * kStageBytes;
  Turn<kWeightStages> turn{.parity = 1};
  // A place of headers is written again four chunks later, so when at least four stages lie between.
  int header_at = 0;
  for (int tile = cta.first_tile; tile < p.tiles; tile += cta.tile_step) {
    const int unit = tile * p.tile_units;
    const int units = min(p.tile_units, p.units - unit);
    for (int stage = cta.first_stage; stage < cta.end_stage; ++stage, turn.advance()) {
      const int chunk = stage / kChunkStages;
      const int column = stage % kChunkStages * (kStageBytes / 2);  // of what the map takes for bf16 values
      const bool headers = stage == cta.first_stage || column == 0;
      const bool tail = chunk == whole_chunks;
      const CUtensorMap* map = tail ? &maps.tail : &maps.w;
      const int row = tail ? unit : static_cast<int>(chunk * p.n) + unit;
      const uint32_t to = cta.w_ring + turn.stage * kWeightStage;
      const uint32_t barrier = cta.w_full + 8 * turn.stage;
      ptx::barrier_wait(cta.w_empty + 8 * turn.stage, turn.parity);
      ptx::barrier_arrive_expect(barrier, values_bytes + (headers ? (kGateUp ? 2 : 1) * units * kHeader : 0));
      ptx::tensor_copy(to, map, column, row, barrier, policy);
      if (kGateUp) ptx::tensor_copy(to + p.tile_units * kStageBytes, map, column, row + p.units, barrier, policy);
      if (headers) {
        const uint32_t place = cta.headers + header_at * kTileRows * kHeader;
        const uint8_t* from = p.w + i4::header_at(p.n, p.k, unit, chunk, kZeros);
        ptx::bulk_copy(place, from, units * kHeader, barrier, policy);
        if (kGateUp) {
          ptx::bulk_copy(place + p.tile_units * kHeader, from + static_cast<int64_t>(p.units) * kHeader,
                         units * kHeader, barrier, policy);
        }
        header_at = (header_at + 1) % kWeightStages;
      }
    }
  }
  if (p.next.data != nullptr) skinny::prefetch_next(p.next, 0, 1);
}

template <int kTokens>
__device__ __forceinline__ void copy_x(const Params& p, const Maps& maps, const Cta& cta) {
  using X = XRing<kTokens>;
  ptx::prefetch_map(&maps.x);
  ptx::wait_for_previous();
  const int end = min(p.k / i4::kGroup, cta.end_stage * kStageGroups);
  Turn<X::kStages> turn{.parity = 1};
  for (int tile = cta.first_tile; tile < p.tiles; tile += cta.tile_step) {
    for (int group = cta.first_stage * kStageGroups; group < end; ++group, turn.advance()) {
      const uint32_t barrier = cta.x_full + 8 * turn.stage;
      const uint32_t to = cta.x_ring + turn.stage * X::kStage;
      ptx::barrier_wait(cta.x_empty + 8 * turn.stage, turn.parity);
      ptx::barrier_arrive_expect(barrier, X::kStage);
      ptx::tensor_copy(to, &maps.x, group * i4::kGroup, 0, barrier);
      ptx::tensor_copy(to + X::kHalf, &maps.x, group * i4::kGroup + 64, 0, barrier);
    }
  }
}

template <int kTokens, bool kGateUp, bool kZeros>
__device__ __forceinline__ void multiply(const Params& p, const Cta& cta, float* sums) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using X = XRing<kTokens>;
  constexpr int kHeader = i4::header_bytes(kZeros);
  constexpr int kBuffers = kPending<kTokens> + 1;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  const int lane = threadIdx.x % 32;
  // A lane's two rows in the tile, the second so many rows behind the first.
  const int row = warp * (kGateUp ? 8 : 16) + lane / 4;
  const int apart = kGateUp ? p.tile_units : 8;
  const uint32_t values[2] = {cta.w_ring + row * kStageBytes + lane % 4 * 16,
                              cta.w_ring + (row + apart) * kStageBytes + lane % 4 * 16};
  const uint64_t x_ring = wgmma::swizzled_128(cta.x_ring);
  Turn<kWeightStages> w_turn;
  Turn<X::kStages> x_turn;
  int header_at = -1;
  uint32_t x_before = 0;  // the barrier of the stage whose products may still run
  for (int tile = cta.first_tile; tile < p.tiles; tile += cta.tile_step) {
    float acc[kTokens / 2] = {};
    uint32_t a[kBuffers][4];
    const int unit = tile * p.tile_units + row;
    // Odd rows have their groups exchanged by pairs (i4_layout.h).
    const int flip[2] = {unit % 2 * i4::kGroupBytes, (unit + (kGateUp ? p.units : 8)) % 2 * i4::kGroupBytes};
    for (int stage = cta.first_stage; stage < cta.end_stage; ++stage) {
      const int column = stage % kChunkStages;
      if (stage == cta.first_stage || column == 0) header_at = (header_at + 1) % kWeightStages;
      const uint32_t header = cta.headers + (header_at * kTileRows + row) * kHeader;
      const int groups = i4::chunk_groups(p.k, stage / kChunkStages);
      const int here = min(kStageGroups, groups - column * kStageGroups);
      const uint32_t offset = w_turn.stage * kWeightStage;
      ptx::barrier_wait(cta.w_full + 8 * w_turn.stage, w_turn.parity);
#pragma unroll
      for (int g = 0; g < kStageGroups; ++g) {
        if (g >= here) break;
        Words words;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const uint32_t swap = (groups % 2 == 0 ? flip[h] : 0) ^ (g * i4::kGroupBytes);
          words.load(h, (values[h] + offset) ^ swap, header + h * apart * kHeader, column * kStageGroups + g, kZeros);
        }
        const uint64_t x = x_ring + (x_turn.stage * X::kStage >> 4);
#pragma unroll
        for (int step = 0; step < kGroupSteps; ++step) {
          words.widen(a[step % kBuffers], step);
          if (step == 0) ptx::barrier_wait(cta.x_full + 8 * x_turn.stage, x_turn.parity);
          wgmma::fence();
          wgmma::multiply(acc, a[step % kBuffers], x + ((step / 4 * X::kHalf + step % 4 * 32) >> 4));
          wgmma::commit();
          wgmma::wait<kPending<kTokens>>();  // the registers of the products before those are free
          if (step + 1 == kPending<kTokens>) {
            if (lane == 0 && x_before != 0) ptx::barrier_arrive(x_before);
            x_before = cta.x_empty + 8 * x_turn.stage;
          }
        }
        x_turn.advance();
        if (g == here - 1) ptx::barrier_arrive_warp(cta.w_empty + 8 * w_turn.stage, lane);
      }
      w_turn.advance();
    }
    wgmma::wait<0>();
    if (!p.through_shared) {
      wide_i4::store_tile<kTokens, kGateUp>(p, acc, tile * p.tile_units,
                                            min(p.tile_units, p.units - tile * p.tile_units), 0, warp, lane);
      continue;
    }
    // All of W and x has been read by all warps before the tile of sums overwrites them. The copying warps come too: a
    // barrier of the consumers alone would do, but racecheck then loses count.
    __syncthreads();
    wide_i4::put_sums<kSumPitch>(sums, acc, warp, lane);
  }
#endif
}

// Each CTA of a cluster finishes its share of the rows of x.
template <int kTokens, bool kGateUp>
__device__ __forceinline__ void add_parts(const Params& p, const Cta& cta, const float* sums, int rank) {
  constexpr int kUnits = kGateUp ? kTileRows / 2 : kTileRows;
  const int begin = kTokens * rank / p.split;
  const int end = min(kTokens * (rank + 1) / p.split, used_rows(p));
  const int first_unit = cta.first_tile * p.tile_units;
  const int units = min(p.tile_units, p.units - first_unit);
  const uint32_t base = ptx::shared_address(sums);
  const auto total = [&](int row, int token) {
    if (p.split == 1) return sums[token * kSumPitch + row];
    const uint32_t at = base + (token * kSumPitch + row) * 4;
    return wide_i4::cluster_sum<kMaxSplit>(at, p.split);
  };
  for (int i = threadIdx.x; i < (end - begin) * kUnits; i += kThreads) {
    const int token = begin + i / kUnits;
    const int slot = i % kUnits;
    if (slot >= units) continue;
    const int unit = first_unit + slot;
    if constexpr (kGateUp) {
      const int row = slot / 8 * 16 + slot % 8;
      wide_i4::store(p, token, unit, wide_i4::gated(p, total(row, token), total(row + 8, token), unit));
    } else {
      wide_i4::store(p, token, unit, total(slot, token) + (p.bias == nullptr ? 0.0f : p.bias[unit]));
    }
  }
}

template <int kTokens, bool kGateUp, bool kZeros>
__global__ void __launch_bounds__(kThreads, 1)
    batch_kernel(const __grid_constant__ Params p, const __grid_constant__ Maps maps) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using X = XRing<kTokens>;
  extern __shared__ __align__(1024) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[2 * (kWeightStages + X::kStages)];
  const uint32_t x_ring = (ptx::shared_address(shared) + 1023) & ~1023u;
  const uint32_t w_ring = x_ring + X::kStages * X::kStage;
  const uint32_t w_full = ptx::shared_address(barriers);
  const uint32_t w_empty = w_full + 8 * kWeightStages;
  const uint32_t x_full = w_empty + 8 * kWeightStages;
  const uint32_t x_empty = x_full + 8 * X::kStages;
  auto* sums = reinterpret_cast<float*>(shared + (x_ring - ptx::shared_address(shared)));  // after the last product
  const int rank = blockIdx.x % p.split;
  const Cta cta{.x_ring = x_ring,
                .w_ring = w_ring,
                .headers = w_ring + kWeightStages * kWeightStage,
                .w_full = w_full,
                .w_empty = w_empty,
                .x_full = x_full,
                .x_empty = x_empty,
                .first_stage = p.stages * rank / p.split,
                .end_stage = p.stages * (rank + 1) / p.split,
                .first_tile = static_cast<int>(blockIdx.x) / p.split,
                .tile_step = static_cast<int>(gridDim.x) / p.split};
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  ptx::launch_dependents();
  if (threadIdx.x == kConsumers) {
    for (int i = 0; i < kWeightStages; ++i) {
      ptx::barrier_init(w_full + 8 * i, 1);
      ptx::barrier_init(w_empty + 8 * i, kConsumers / 32 * ptx::kWarpArrivals);
    }
    for (int i = 0; i < X::kStages; ++i) {
      ptx::barrier_init(x_full + 8 * i, 1);
      ptx::barrier_init(x_empty + 8 * i, kConsumers / 32);
    }
    ptx::barrier_init_fence();
  }
  __syncthreads();
  if (warp >= kConsumers / 32) {
    give_registers<32>();
    if (warp == kConsumers / 32 && ptx::elect_one()) copy_weights<kGateUp, kZeros>(p, maps, cta);
    if (warp == kConsumers / 32 + 1 && ptx::elect_one()) copy_x<kTokens>(p, maps, cta);
    __syncwarp();
    if (p.through_shared) __syncthreads();
  } else {
    take_registers<112>();
    multiply<kTokens, kGateUp, kZeros>(p, cta, sums);
  }
  if (!p.through_shared) return;
  ptx::cluster_sync();
  add_parts<kTokens, kGateUp>(p, cta, sums, rank);
  if (p.split > 1) ptx::cluster_sync();  // nobody leaves while its sums are being read
#endif
}

// How many CTAs run at once in clusters of `split`: parts of the card's SMs are too few for one more cluster.
template <int kTokens, bool kGateUp, bool kZeros>
int capacity(int split, int num_sms) {
  if (split == 1) return num_sms;
  static std::atomic<int> known[kMaxSplit + 1];
  int clusters = known[split].load(std::memory_order_relaxed);
  if (clusters == 0) {
    const auto function = batch_kernel<kTokens, kGateUp, kZeros>;
    const ProductLaunch launch(split, kThreads, kShared<kTokens, kZeros>, split, nullptr);
    if (ProductLaunch::allow(function) != cudaSuccess ||
        cudaOccupancyMaxActiveClusters(&clusters, function, &launch.config()) != cudaSuccess) {
      clusters = 0;
    }
    known[split].store(clusters, std::memory_order_relaxed);
  }
  return clusters * split;
}

// Few tiles are shared by clusters: the split with the least time, in stages of work; a beginning and an end take about
// one and a half, and adding the parts as much again.
template <int kTokens, bool kGateUp, bool kZeros>
int best_split(const Params& p, int num_sms) {
  double best = 1e30;
  int best_split = 1;
  for (int split = 1; split <= std::min(kMaxSplit, p.stages); ++split) {
    const int at_once = capacity<kTokens, kGateUp, kZeros>(split, num_sms);
    if (at_once == 0) continue;
    const int rounds = (p.tiles * split + at_once - 1) / at_once;
    const double cost = rounds * ((p.stages + split - 1) / split + (split == 1 ? 1.5 : 3.0));
    if (cost < best) {
      best = cost;
      best_split = split;
    }
  }
  return best_split;
}

template <int kTokens, bool kGateUp, bool kZeros>
cudaError_t launch(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                   cudaStream_t stream) {
  static_assert(kTokens * kSumPitch * 4 <= kShared<kTokens, kZeros> && kShared<kTokens, kZeros> <= kMaxShared);
  Params p = {product_params(weight, operands)};
  p.stages = (weight.k / i4::kGroup + kStageGroups - 1) / kStageGroups;
  constexpr int kUnits = kGateUp ? kTileRows / 2 : kTileRows;
  p.tiles = (p.units + kUnits - 1) / kUnits;
  p.split = best_split<kTokens, kGateUp, kZeros>(p, device.num_sms);
  // Every tile gets the same share of W; without a split every CTA, in each round.
  if (p.split == 1) p.tiles = std::min(p.units, (p.tiles + device.num_sms - 1) / device.num_sms * device.num_sms);
  p.tile_units = (p.units + p.tiles - 1) / p.tiles;
  p.tiles = (p.units + p.tile_units - 1) / p.tile_units;

  p.through_shared = p.split > 1 || p.tiles <= device.num_sms;

  const auto k = static_cast<uint64_t>(weight.k);
  const auto n = static_cast<uint64_t>(weight.n);
  const auto box = static_cast<uint32_t>(p.tile_units);
  const uint64_t chunks = k / i4::kChunk;
  const uint64_t tail = k % i4::kChunk / 2;  // bytes of a row
  Maps maps;
  maps.x = tensor_map<2>(operands.x, {k, static_cast<uint64_t>(operands.rows)},
                         {static_cast<uint64_t>(operands.x_stride) * 2}, {64, kTokens});
  const auto rows_of = [&](const uint8_t* data, uint64_t bytes, uint64_t rows) {
    return tensor_map<2>(data, {bytes / 2, rows}, {bytes}, {kStageBytes / 2, box}, CU_TENSOR_MAP_SWIZZLE_NONE);
  };
  if (chunks != 0) maps.w = rows_of(p.w, i4::kChunkBytes, n * chunks);
  if (tail != 0) maps.tail = rows_of(p.w + n * chunks * i4::kChunkBytes, tail, n);
  const int grid = p.split == 1 ? std::min(p.tiles, device.num_sms) : p.tiles * p.split;
  return ProductLaunch(grid, kThreads, kShared<kTokens, kZeros>, p.split, stream)
      .run(batch_kernel<kTokens, kGateUp, kZeros>, p, maps);
}

template <int kTokens>
cudaError_t launch(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                   cudaStream_t stream) {
  if (weight.gate_up) {
    return weight.zero_points ? launch<kTokens, true, true>(weight, operands, device, stream)
                              : launch<kTokens, true, false>(weight, operands, device, stream);
  }
  return weight.zero_points ? launch<kTokens, false, true>(weight, operands, device, stream)
                            : launch<kTokens, false, false>(weight, operands, device, stream);
}

}  // namespace

bool batch_i4_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  return wide_i4_supports(weight, operands, device) && operands.rows <= kBatchRows;
}

cudaError_t matmul_batch_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                            cudaStream_t stream) {
  if (operands.rows <= 32) return launch<32>(weight, operands, device, stream);
  return operands.rows <= 64 ? launch<64>(weight, operands, device, stream)
                             : launch<128>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda
