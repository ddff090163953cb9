#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/matmul_ptx.cuh"
#include "kernels/cuda/tensor_map.h"
#include "kernels/cuda/wgmma.cuh"

// Int4 products of many rows of x: y^T = W x^T, with W as the left operand of wgmma, which may come from registers.
//
// A CTA makes a tile of 128 rows of W and 64 or 128 rows of x. Two warpgroups own 64 rows of W each; a lane loads its
// nibbles straight from memory in the order of the instruction's registers (i4_layout.h), two groups of 128 columns
// ahead of their use, and widens them to bf16 while the tensor cores work on the words before. One more warp brings x,
// a stage of 128 columns at a time, through the tensor copy engine. Tiles are too few for the card when N or the rows
// of x are: then a cluster of CTAs shares a tile, each with a part of K, and the parts are added in the order of their
// ranks through distributed shared memory.
//
// Here (q - zero) * scale is rounded to bf16 before the product, and the scale itself to bf16; the skinny kernel has
// neither rounding.

namespace glimpse::cuda {

namespace {

constexpr int kRowTile = 128;
constexpr int kConsumers = 256;
constexpr int kThreads = kConsumers + 32;
constexpr int kPitch = kRowTile + 4;  // of the tile of sums, in floats
constexpr int kMaxSplit = 4;

struct Params {
  const uint8_t* w;
  const float* bias;
  void* y;
  const int32_t* count;
  int64_t row_bytes;
  int64_t y_stride;
  int32_t units;
  int32_t rows;
  int32_t groups;
  int32_t token_tiles;
  int32_t split;
  int32_t stages;
  bool zero_points;
  bool y_f32;
};

// A lane's share of a group: 16 bytes of row g and of row g + 8 of its warp, and what they mean.
struct Words {
  uint4 q[2];
  uint32_t scale[2];  // fp16 bits
  uint32_t zero[2];
};

struct RowReader {
  const uint8_t* row[2];
  int32_t header;
  int32_t chunk_bytes;
  bool zero_points;

  __device__ __forceinline__ void load(Words& words, int group, int lane) const {
    const int in_chunk = group % i4::kChunkGroups;
    const int64_t chunk = static_cast<int64_t>(group / i4::kChunkGroups) * chunk_bytes;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const uint8_t* at = row[h] + chunk;
      words.q[h] = __ldg(reinterpret_cast<const uint4*>(at + header + in_chunk * i4::kGroupBytes + (lane % 4) * 16));
      words.scale[h] = __ldg(reinterpret_cast<const uint16_t*>(at) + in_chunk);
      words.zero[h] = zero_points ? __ldg(at + 16 + in_chunk) : 8;
    }
  }
};

// Word j of both rows as the left operands of two 16-column steps.
__device__ __forceinline__ void widen(uint32_t (&a)[2][4], const Words& words, int j, const uint32_t (&zero)[2],
                                      const uint32_t (&scale)[2]) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    const uint32_t word = j == 0 ? words.q[h].x : j == 1 ? words.q[h].y : j == 2 ? words.q[h].z : words.q[h].w;
#pragma unroll
    for (int pair = 0; pair < 4; ++pair) {
      a[pair / 2][h + pair % 2 * 2] =
          ptx::mul_bf16x2(ptx::sub_bf16x2(ptx::nibbles_plus_128(word, pair), zero[h]), scale[h]);
    }
  }
}

template <int kTokens, bool kGateUp>
__global__ void __launch_bounds__(kThreads, 1)
    wide_kernel(const __grid_constant__ Params p, const __grid_constant__ CUtensorMap x_map) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr int kHalfStage = kTokens * 128;  // bytes: 64 columns
  constexpr int kStage = 2 * kHalfStage;
  extern __shared__ __align__(1024) uint8_t shared[];
  __shared__ __align__(8) uint64_t barriers[16];
  const uint32_t ring = (ptx::shared_address(shared) + 1023) & ~1023u;
  float* sums = reinterpret_cast<float*>(shared + (ring - ptx::shared_address(shared)));
  const uint32_t full = ptx::shared_address(barriers);
  const uint32_t empty = full + 8 * 8;
  const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0);
  const int lane = threadIdx.x % 32;
  const int rank = blockIdx.x % p.split;
  const int token_tile = blockIdx.x / p.split % p.token_tiles;
  const int row_tile = blockIdx.x / p.split / p.token_tiles;
  const int first_group = p.groups * rank / p.split;
  const int num_groups = p.groups * (rank + 1) / p.split - first_group;
  constexpr int kUnits = kGateUp ? kRowTile / 2 : kRowTile;  // of a tile
  const int first_unit = row_tile * kUnits;

  ptx::launch_dependents();
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      ptx::barrier_init(full + 8 * i, 1);
      ptx::barrier_init(empty + 8 * i, kConsumers / 32);
    }
    ptx::barrier_init_fence();
  }
  __syncthreads();

  if (warp == kConsumers / 32) {
    if (ptx::elect_one()) {
      ptx::wait_for_previous();
      int stage = 0;
      uint32_t parity = 1;
      for (int g = 0; g < num_groups; ++g) {
        ptx::barrier_wait(empty + 8 * stage, parity);
        ptx::barrier_arrive_expect(full + 8 * stage, kStage);
        for (int h = 0; h < 2; ++h) {
          ptx::tensor_copy(ring + stage * kStage + h * kHalfStage, &x_map, (first_group + g) * 128 + h * 64,
                           token_tile * kTokens, full + 8 * stage);
        }
        if (++stage == p.stages) {
          stage = 0;
          parity ^= 1;
        }
      }
    }
    __syncwarp();
  } else {
    RowReader reader{.header = i4::header_bytes(p.zero_points),
                     .chunk_bytes = i4::chunk_bytes(p.zero_points),
                     .zero_points = p.zero_points};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int unit = min(first_unit + (kGateUp ? warp * 8 : warp * 16 + h * 8) + lane / 4, p.units - 1);
      reader.row[h] = p.w + (static_cast<int64_t>(unit) + (kGateUp ? h * p.units : 0)) * p.row_bytes;
    }
    float acc[kTokens / 2] = {};
    Words words[2];
    reader.load(words[0], first_group, lane);
    reader.load(words[1], min(first_group + 1, p.groups - 1), lane);
    int stage = 0;
    uint32_t parity = 0;
    const auto step = [&](Words& mine, int g) {
      uint32_t zero[2];
      uint32_t scale[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        zero[h] = 0x43004300u + mine.zero[h] * 0x10001u;
        scale[h] = ptx::twice_bf16(__half2float(__ushort_as_half(static_cast<uint16_t>(mine.scale[h]))));
      }
      uint32_t a[2][2][4];
      widen(a[0], mine, 0, zero, scale);
      ptx::barrier_wait(full + 8 * stage, parity);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t tile = ring + stage * kStage + j / 2 * kHalfStage + j % 2 * 64;
        wgmma::fence();
        wgmma::multiply(acc, a[j % 2][0], wgmma::swizzled_128(tile));
        wgmma::multiply(acc, a[j % 2][1], wgmma::swizzled_128(tile + 32));
        wgmma::commit();
        if (j < 3) {
          if (j > 0) wgmma::wait<1>();  // the registers of the words before are free again
          widen(a[(j + 1) % 2], mine, j + 1, zero, scale);
        }
      }
      reader.load(mine, min(first_group + g + 2, p.groups - 1), lane);
      wgmma::wait<0>();
      if (lane == 0) ptx::barrier_arrive(empty + 8 * stage);
      if (++stage == p.stages) {
        stage = 0;
        parity ^= 1;
      }
    };
    for (int g = 0; g < num_groups; g += 2) {
      step(words[0], g);
      if (g + 1 < num_groups) step(words[1], g + 1);
    }
    // All stages have been read by all warps before the tile of sums overwrites them.
    ptx::named_barrier(1, kConsumers);
#pragma unroll
    for (int i = 0; i < kTokens / 2; ++i) {
      const int token = i / 4 * 8 + lane % 4 * 2 + i % 2;
      sums[token * kPitch + warp * 16 + i / 2 % 2 * 8 + lane / 4] = acc[i];
    }
  }
  if (p.split == 1) {
    __syncthreads();
  } else {
    ptx::cluster_sync();
  }
  // Each CTA of the cluster finishes its share of the tile's rows of x.
  const int begin = kTokens * rank / p.split;
  const int end = kTokens * (rank + 1) / p.split;
  const int count = (p.count == nullptr ? p.rows : min(p.rows, __ldcg(p.count))) - token_tile * kTokens;
  const uint32_t base = ptx::shared_address(sums);
  const auto total = [&](int row, int token) {
    float sum = 0;
    const uint32_t at = base + (token * kPitch + row) * 4;
    if (p.split == 1) return sums[token * kPitch + row];
    for (int r = 0; r < p.split; ++r) sum += ptx::load_cluster_float(at, r);
    return sum;
  };
  for (int i = threadIdx.x; i < (end - begin) * kUnits; i += kThreads) {
    const int token = begin + i / kUnits;
    const int slot = i % kUnits;
    const int unit = first_unit + slot;
    if (token >= count || unit >= p.units) continue;
    float value;
    if constexpr (kGateUp) {
      const int row = slot / 8 * 16 + slot % 8;
      float gate = total(row, token);
      float up = total(row + 8, token);
      if (p.bias != nullptr) {
        gate += p.bias[unit];
        up += p.bias[unit + p.units];
      }
      value = gate / (1.0f + __expf(-gate)) * up;
    } else {
      value = total(slot, token);
      if (p.bias != nullptr) value += p.bias[unit];
    }
    const int64_t at = (static_cast<int64_t>(token_tile) * kTokens + token) * p.y_stride + unit;
    if (p.y_f32) {
      static_cast<float*>(p.y)[at] = value;
    } else {
      static_cast<__nv_bfloat16*>(p.y)[at] = __float2bfloat16_rn(value);
    }
  }
  if (p.split > 1) ptx::cluster_sync();  // nobody leaves while its sums are being read
#endif
}

template <int kTokens, bool kGateUp>
cudaError_t launch(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                   cudaStream_t stream) {
  constexpr int kStage = kTokens * 256;
  constexpr int kStages = kTokens == 64 ? 6 : 5;
  constexpr int kShared = kStages * kStage + 1024;
  static_assert(kTokens * kPitch * 4 <= kStages * kStage);
  Params p = {};
  p.w = static_cast<const uint8_t*>(weight.data);
  p.bias = weight.bias;
  p.y = operands.y;
  p.count = operands.count;
  p.row_bytes = i4::row_bytes(weight.k, weight.zero_points);
  p.y_stride = operands.y_stride;
  p.units = kGateUp ? weight.n / 2 : weight.n;
  p.rows = operands.rows;
  p.groups = weight.k / i4::kGroup;
  p.token_tiles = (operands.rows + kTokens - 1) / kTokens;
  p.stages = kStages;
  p.zero_points = weight.zero_points;
  p.y_f32 = operands.y_f32;
  const int units_per_tile = kGateUp ? kRowTile / 2 : kRowTile;
  const int tiles = (p.units + units_per_tile - 1) / units_per_tile * p.token_tiles;
  // The split with the least time: rounds of CTAs, each a part of K and, in groups of work, about five for its
  // beginning and end, and more where parts have to be added.
  double best = 1e30;
  for (int split = 1; split <= std::min(kMaxSplit, p.groups); ++split) {
    const int rounds = (tiles * split + device.num_sms - 1) / device.num_sms;
    const double cost = rounds * (static_cast<double>(p.groups) / split + (split == 1 ? 5 : 8));
    if (cost < best) {
      best = cost;
      p.split = split;
    }
  }
  const CUtensorMap x_map =
      tensor_map<2>(operands.x, {static_cast<uint64_t>(weight.k), static_cast<uint64_t>(operands.rows)},
                    {static_cast<uint64_t>(operands.x_stride) * 2}, {64, kTokens});
  const auto function = wide_kernel<kTokens, kGateUp>;
  if (auto error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared);
      error != cudaSuccess) {
    return error;
  }
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = p.split;
  attributes[1].val.clusterDim.y = 1;
  attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(tiles * p.split);
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = kShared;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, function, p, x_map);
}

}  // namespace

bool wide_i4_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  return weight.format == MatmulFormat::kI4 && device.arch == 90 && operands.rows >= 1 && weight.k % i4::kGroup == 0 &&
         operands.x_stride % 8 == 0 && reinterpret_cast<uintptr_t>(operands.x) % 16 == 0;
}

cudaError_t matmul_wide_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                           cudaStream_t stream) {
  if (operands.rows <= 64) {
    return weight.gate_up ? launch<64, true>(weight, operands, device, stream)
                          : launch<64, false>(weight, operands, device, stream);
  }
  return weight.gate_up ? launch<128, true>(weight, operands, device, stream)
                        : launch<128, false>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda
