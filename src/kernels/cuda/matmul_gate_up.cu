#include <cuda_bf16.h>

#include <algorithm>

#include "kernels/cuda/hopper.cuh"
#include "kernels/cuda/matmul_launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_map.h"

// bfloat16 products of many rows of x with gated weights: y = silu(x Wg^T) * (x Wu^T), sums, bias and SiLU in float32.
//
// A CTA has an SM for itself and makes one tile after the other: kRows rows of x, kColumns rows of W. One warp keeps
// the copy engine busy with 64 columns of both at a time, kStages deep; two warpgroups multiply, half of the tile's
// rows of x each, x as the left operand of wgmma and W as the right one, both from shared memory. The copies of the
// next tile go on while a tile's results are written.
//
// A tile takes kUnits gate rows and the up rows that belong to them, one behind the other in shared memory: one
// instruction multiplies both, and a thread finds gate and up of a unit in its own registers.
//
// The CTAs of a cluster work on the same rows of x and on neighbouring rows of W: each brings its share of x to all of
// them, since copies out of the second-level cache are what limits large products.

namespace glimpse::cuda {

namespace {

struct Params : ProductParams {
  int32_t k_steps;
  int32_t row_tiles;
  int32_t column_tiles;
};

constexpr int kThreads = 384;     // a warpgroup that copies, two that multiply
constexpr int kStepColumns = 64;  // of K in a stage: 128 bytes of a row
// 27,392 rows of W are 132 tiles of 208, one for every multiprocessor of an H100 and each 256 rows of x.
constexpr int kColumns = 208;
constexpr int kUnits = kColumns / 2;      // columns of y
constexpr int kOutPitch = kUnits * 2;     // bytes of a row of results in shared memory: 13 x 16, so no conflicts
constexpr int kOut = 8 * 16 * kOutPitch;  // 16 rows for each warp that multiplies
// Tiles of so many rows of x go round together before the next rows of W: what they read stays in the L2 cache.
constexpr int kGroupTiles = 16;

template <int kRows_, int kStages_, int kCluster_>
struct Shape {
  static constexpr int kRows = kRows_;
  static constexpr int kStages = kStages_;
  static constexpr int kCluster = kCluster_;
  static constexpr int kBlocks = kRows / 128;  // of 64 rows, of a warpgroup
  static constexpr int kXStage = kRows * 128;  // bytes
  static constexpr int kStage = kXStage + kColumns * 128;
  static constexpr int kShared = kStages * kStage + kOut + 1024;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The order of tiles, `clusters` of them at a time.
struct Order {
  int32_t rows;     // tiles along x
  int32_t columns;  // along W, of a cluster's CTAs together
  int32_t group;    // tiles along x that go round together

  __device__ Order(int32_t num_rows, int32_t num_columns) : rows(num_rows), columns(num_columns) {
    const int32_t groups = (rows + kGroupTiles - 1) / kGroupTiles;
    group = (rows + groups - 1) / groups;
  }
};

struct Place {
  int32_t row;
  int32_t column;

  __device__ Place(const Order& order, int32_t tile) {
    const int32_t first = tile / (order.group * order.columns) * order.group;
    const int32_t rest = tile - first * order.columns;
    const int32_t group_rows = min(order.group, order.rows - first);
    column = rest / group_rows;
    row = first + rest % group_rows;
  }
};

__device__ __forceinline__ uint32_t as_bf16(float a, float b) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(a, b);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

// d + bias of the kUnits / 2 sums from `first` on. Without much in flight: the sums leave few registers.
__device__ __forceinline__ void add_bias(float (&d)[kUnits], int first, const float* bias, int32_t unit,
                                         int32_t units) {
#pragma unroll
  for (int group = 0; group < kUnits / 8; ++group) {
    float2 b = make_float2(0, 0);
    if (unit + group * 8 < units) b = __ldg(reinterpret_cast<const float2*>(bias + unit + group * 8));
    float* four = d + first + group * 4;
    four[0] += b.x;
    four[1] += b.y;
    four[2] += b.x;
    four[3] += b.y;
    asm volatile("" : "+f"(four[0]), "+f"(four[1]), "+f"(four[2]), "+f"(four[3])::"memory");
  }
}

// 16 rows of a warp from `row` on: silu(g) * u with bias to y, through shared memory. d is of wgmma (hopper.cuh).
__device__ __forceinline__ void write_rows(const Params& p, float (&d)[kUnits], int32_t row, int32_t used,
                                           int32_t first_unit, std::byte* staged) {
  constexpr int kGroups = kUnits / 8;  // of eight columns
  // Not to be worked out before the tile and kept.
  int32_t lane;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  if (p.bias != nullptr) {
    const int32_t unit = first_unit + lane % 4 * 2;
    add_bias(d, 0, p.bias, unit, p.units);
    add_bias(d, kUnits / 2, p.bias + p.units, unit, p.units);
  }
  const uint32_t base = shared_address(staged);
  const uint32_t matrix = base + lane % 16 * kOutPitch + lane / 16 * 16;
  // Two columns of row lane / 4, and of the row eight below.
  const auto results = [&](int group, uint32_t& above, uint32_t& below) {
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float gate = d[group * 4 + i];
      v[i] = __fdividef(gate, 1.0f + __expf(-gate)) * d[kUnits / 2 + group * 4 + i];
    }
    above = as_bf16(v[0], v[1]);
    below = as_bf16(v[2], v[3]);
  };
#pragma unroll
  for (int group = 0; group < kGroups; group += 2) {
    uint32_t r[4];
    results(group, r[0], r[1]);
    if (group + 1 < kGroups) {
      results(group + 1, r[2], r[3]);
      store_matrices(matrix + group * 16, r[0], r[1], r[2], r[3]);
    } else {
      store_matrices(matrix + group * 16, r[0], r[1]);
    }
  }
  __syncwarp();
  auto* y = static_cast<__nv_bfloat16*>(p.y) + row * p.y_stride + first_unit;
#pragma unroll
  for (int i = 0; i < (16 * kGroups + 31) / 32; ++i) {
    const int32_t r = (i * 32 + lane) / kGroups;
    const int32_t c = (i * 32 + lane) % kGroups;
    if (r >= 16 || row + r >= used || first_unit + c * 8 >= p.units) continue;
    *reinterpret_cast<uint4*>(y + r * p.y_stride + c * 8) = ptx::load_shared_16(base + r * kOutPitch + c * 16);
  }
  __syncwarp();
}

#endif

template <class S>
__global__ void __launch_bounds__(kThreads, 1)
    gate_up_kernel(const __grid_constant__ Params p, const __grid_constant__ CUtensorMap x_map,
                   const __grid_constant__ CUtensorMap w_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) std::byte memory[];
  __shared__ uint64_t full[S::kStages];
  __shared__ uint64_t empty[S::kStages];
  std::byte* ring = memory + (1024 - shared_address(memory) % 1024) % 1024;
  const int32_t warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  const int32_t lane = threadIdx.x % 32;
  const uint32_t rank = S::kCluster == 1 ? 0 : cluster_rank();
  const int32_t cluster = blockIdx.x / S::kCluster;
  const int32_t clusters = gridDim.x / S::kCluster;

  ptx::launch_dependents();
  if (threadIdx.x == 0) {
    ptx::prefetch_map(&x_map);
    ptx::prefetch_map(&w_map);
    for (int i = 0; i < S::kStages; ++i) {
      barrier_init(&full[i], 1);
      barrier_init(&empty[i], 8 * S::kCluster);
    }
    barrier_init_fence();
  }
  if constexpr (S::kCluster == 1) {
    __syncthreads();
  } else {
    ptx::cluster_sync();
  }
  const Order order(p.row_tiles, p.column_tiles);
  const int32_t tiles = p.row_tiles * p.column_tiles;

  if (warp < 4) {
    give_registers<24>();
    if (warp == 0 && lane == 0) {
      ptx::wait_for_previous();
      const int32_t used = used_rows(p);
      int stage = 0;
      uint32_t parity = 1;  // the first round finds empty stages
      for (int32_t tile = cluster; tile < tiles; tile += clusters) {
        const Place place(order, tile);
        if (place.row * S::kRows >= used) continue;
        const int32_t unit = (place.column * S::kCluster + static_cast<int32_t>(rank)) * kUnits;
        constexpr int kShare = S::kRows / S::kCluster;
        const int32_t x_row = place.row * S::kRows + static_cast<int32_t>(rank) * kShare;
#pragma unroll 1
        for (int32_t step = 0; step < p.k_steps; ++step) {
          std::byte* x = ring + stage * S::kStage;
          barrier_wait(&empty[stage], parity);
          barrier_arrive_expect(&full[stage], S::kStage);
          copy_3d(x + S::kXStage, &w_map, &full[stage], step * kStepColumns, unit, 0);
          if constexpr (S::kCluster == 1) {
            copy_2d(x, &x_map, &full[stage], step * kStepColumns, x_row);
          } else {
            copy_2d_to((1 << S::kCluster) - 1, x + rank * kShare * 128, &x_map, &full[stage], step * kStepColumns,
                       x_row);
          }
          if (++stage == S::kStages) {
            stage = 0;
            parity ^= 1;
          }
        }
      }
    }
    __syncwarp();
  } else {
    take_registers<240>();
    ptx::wait_for_previous();
    const int32_t used = used_rows(p);
    const int32_t group = warp / 4 - 1;
    std::byte* staged = ring + S::kStages * S::kStage + (warp - 4) * 16 * kOutPitch;
    const uint64_t x_operand = product_operand(ring + group * S::kBlocks * 64 * 128, 16, 1024);
    const uint64_t w_operand = product_operand(ring + S::kXStage, 16, 1024);
    int stage = 0;
    uint32_t parity = 0;
    for (int32_t tile = cluster; tile < tiles; tile += clusters) {
      if (Place(order, tile).row * S::kRows >= used) continue;
      float d[S::kBlocks][kColumns / 2];  // set by the first products
      int before = 0;                     // the stage whose products may still run
      const auto release = [&](int which) {
        if (lane < S::kCluster) {
          if constexpr (S::kCluster == 1) {
            barrier_arrive(&empty[which]);
          } else {
            barrier_arrive_at(&empty[which], lane);
          }
        }
      };
      for (int32_t step = 0; step < p.k_steps; ++step) {
        barrier_wait(&full[stage], parity);
        const uint64_t x = x_operand + static_cast<uint32_t>(stage * (S::kStage / 16));
        const uint64_t w = w_operand + static_cast<uint32_t>(stage * (S::kStage / 16));
        product_fence();
#pragma unroll
        for (int k = 0; k < kStepColumns / 16; ++k) {
#pragma unroll
          for (int block = 0; block < S::kBlocks; ++block) {
            product_ss(d[block], x + block * (64 * 128 / 16) + k * 2, w + k * 2, k == 0 ? step : 1);
          }
        }
        product_commit();
        product_wait<1>();  // those of the stage before are done
        if (step > 0) release(before);
        before = stage;
        if (++stage == S::kStages) {
          stage = 0;
          parity ^= 1;
        }
      }
      product_wait<0>();
      release(before);
      const Place place(order, tile);
      const int32_t unit = (place.column * S::kCluster + static_cast<int32_t>(rank)) * kUnits;
#pragma unroll
      for (int block = 0; block < S::kBlocks; ++block) {
        pin_registers(d[block]);
        write_rows(p, d[block], place.row * S::kRows + (group * S::kBlocks + block) * 64 + warp % 4 * 16, used, unit,
                   staged);
      }
    }
  }
  // Nobody leaves while another may still copy into its memory or arrive at its barriers.
  if constexpr (S::kCluster > 1) ptx::cluster_sync();
#endif
}

// Tiles along y; a cluster's are counted as one.
template <class S>
int32_t column_tiles(int32_t units) {
  return (units + kUnits * S::kCluster - 1) / (kUnits * S::kCluster);
}

template <class S>
int32_t row_tiles(int32_t rows) {
  return (rows + S::kRows - 1) / S::kRows;
}

// Rows of x for which every multiprocessor works: with a tail, more than there are.
template <class S>
int64_t work(int32_t rows, int32_t units, int num_sms) {
  const int32_t slots = num_sms / S::kCluster;
  const int32_t tiles = row_tiles<S>(rows) * column_tiles<S>(units);
  return int64_t{(tiles + slots - 1) / slots} * S::kRows;
}

template <class S>
cudaError_t launch(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                   cudaStream_t stream) {
  static_assert(S::kShared <= kMaxShared);
  Params p = {product_params(weight, operands)};
  p.k_steps = (weight.k + kStepColumns - 1) / kStepColumns;
  p.row_tiles = row_tiles<S>(p.rows);
  p.column_tiles = column_tiles<S>(p.units);
  const auto k = static_cast<uint64_t>(weight.k);
  const auto units = static_cast<uint64_t>(p.units);
  const CUtensorMap x_map =
      tensor_map<2>(operands.x, {k, static_cast<uint64_t>(operands.rows)},
                    {static_cast<uint64_t>(operands.x_stride) * 2}, {kStepColumns, S::kRows / S::kCluster});
  const CUtensorMap w_map =
      tensor_map<3>(weight.data, {k, units, 2}, {k * 2, units * k * 2}, {kStepColumns, kUnits, 2});
  const int grid = std::min(p.row_tiles * p.column_tiles, device.num_sms / S::kCluster) * S::kCluster;
  return ProductLaunch(grid, kThreads, S::kShared, S::kCluster, stream).run(gate_up_kernel<S>, p, x_map, w_map);
}

}  // namespace

bool gate_up_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  return weight.format == MatmulFormat::kBF16 && weight.gate_up && device.arch == 90 && operands.rows >= 1 &&
         weight.k % 8 == 0 && weight.n % 16 == 0 && operands.x_stride % 8 == 0 && operands.y_stride % 8 == 0 &&
         !operands.y_f32 && reinterpret_cast<uintptr_t>(operands.x) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(operands.y) % 16 == 0 && reinterpret_cast<uintptr_t>(weight.bias) % 8 == 0;
}

cudaError_t matmul_gate_up(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                           cudaStream_t stream) {
  using Large = Shape<256, 3, 1>;
  using Small = Shape<128, 4, 2>;  // takes a little longer for the same work
  const int32_t units = weight.n / 2;
  const int64_t large = work<Large>(operands.rows, units, device.num_sms);
  const int64_t small = work<Small>(operands.rows, units, device.num_sms);
  return large * 32 <= small * 33 ? launch<Large>(weight, operands, device, stream)
                                  : launch<Small>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda
