#include "kernels/cuda/pack.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include "kernels/cuda/f8_rows.cuh"
#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda {

namespace {

constexpr int kThreads = 256;

__device__ __forceinline__ float load(const void* data, bool f32, int64_t index) {
  return f32 ? static_cast<const float*>(data)[index]
             : __bfloat162float(static_cast<const __nv_bfloat16*>(data)[index]);
}

__device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

__device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// A group of a row: where its values and its row's header of that chunk lie in a packed weight of `n` rows.
struct GroupPlace {
  uint8_t* values;
  uint8_t* header;
  int in_chunk;  // index of the group
};

__device__ GroupPlace group_place(void* packed, int64_t n, int64_t row, int group, int k, bool zero_points) {
  const int chunk = group / i4::kChunkGroups;
  const int in_chunk = group % i4::kChunkGroups;
  auto* base = static_cast<uint8_t*>(packed);
  return {
      base + i4::values_at(n, k, row, chunk) + i4::slot(row, in_chunk, i4::chunk_groups(k, chunk)) * i4::kGroupBytes,
      base + i4::header_at(n, k, row, chunk, zero_points), in_chunk};
}

// Lane l holds columns 4l .. 4l + 3 of a group; the words are made by the lanes 0..15.
__device__ void store_group(uint8_t* values, const int (&q)[4], int lane) {
  uint32_t word = 0;
  for (int c = 0; c < i4::kGroup; ++c) {
    const int from = c / 4;
    const int mine = c % 4 == 0 ? q[0] : c % 4 == 1 ? q[1] : c % 4 == 2 ? q[2] : q[3];
    const auto value = static_cast<uint32_t>(__shfl_sync(0xffffffffu, mine, from));
    const i4::Place place = i4::place(c);
    if (place.word == lane) word |= value << place.shift;
  }
  if (lane < 16) reinterpret_cast<uint32_t*>(values)[lane] = word;
}

// A warp per group.
__global__ void pack_i4_kernel(const StagedRows in, void* packed) {
  const int groups = in.k / i4::kGroup;
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (index >= static_cast<int64_t>(in.rows) * groups) return;
  const auto r = index / groups;
  const auto group = static_cast<int>(index % groups);
  float x[4];
  float most = 0;
  for (int i = 0; i < 4; ++i) {
    x[i] = load(in.data, in.f32, r * in.k + group * i4::kGroup + lane * 4 + i);
    most = fmaxf(most, fabsf(x[i]));
  }
  most = warp_max(most);
  float best_scale = 0;
  float best_error = INFINITY;
  int best[4] = {8, 8, 8, 8};
  for (int candidate = 0; candidate < 16 && most > 0; ++candidate) {
    const float scale = __half2float(__float2half_rn(most / 8.0f * (1.0f + 0.0133f * candidate)));
    if (scale == 0) continue;
    float error = 0;
    int q[4];
    for (int i = 0; i < 4; ++i) {
      const float rounded = fminf(fmaxf(rintf(x[i] / scale), -8.0f), 7.0f);
      q[i] = static_cast<int>(rounded) + 8;
      const float miss = x[i] - rounded * scale;
      error += miss * miss;
    }
    error = warp_sum(error);
    if (error < best_error) {
      best_error = error;
      best_scale = scale;
      for (int i = 0; i < 4; ++i) best[i] = q[i];
    }
  }
  const GroupPlace at = group_place(packed, in.n, in.first_row + r, group, in.k, false);
  store_group(at.values, best, lane);
  if (lane == 0) {
    auto* scales = reinterpret_cast<__half*>(at.header);
    scales[at.in_chunk] = __float2half_rn(best_scale);
    if (group == groups - 1) {
      for (int g = at.in_chunk + 1; g < i4::kChunkGroups; ++g) scales[g] = __float2half_rn(0);
    }
  }
}

__global__ void pack_i4_values_kernel(const StagedI4 in, void* packed) {
  const int groups = in.k / i4::kGroup;
  const int64_t index = (static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x) / 32;
  const int lane = threadIdx.x % 32;
  if (index >= static_cast<int64_t>(in.rows) * groups) return;
  const auto r = index / groups;
  const auto group = static_cast<int>(index % groups);
  const bool zero_points = in.zero_points;
  const uint8_t* row = in.data + r * StagedI4::row_bytes(in.k);
  int q[4];
  for (int i = 0; i < 4; ++i) q[i] = row[group * i4::kGroup + lane * 4 + i] & 15;
  const GroupPlace at = group_place(packed, in.n, in.first_row + r, group, in.k, zero_points);
  store_group(at.values, q, lane);
  if (lane == 0) {
    auto* scales = reinterpret_cast<uint16_t*>(at.header);
    // Staged rows have odd lengths: bytes.
    const uint8_t* scale = row + in.k + group * 2;
    scales[at.in_chunk] = static_cast<uint16_t>(scale[0] | scale[1] << 8);
    if (zero_points) at.header[16 + at.in_chunk] = row[in.k + groups * 2 + group] & 15;
    if (group == groups - 1) {
      for (int g = at.in_chunk + 1; g < i4::kChunkGroups; ++g) {
        scales[g] = 0;
        if (zero_points) at.header[16 + g] = 0;
      }
    }
    if (zero_points && at.in_chunk == 0) *reinterpret_cast<uint64_t*>(at.header + 24) = 0;
  }
}

// The largest magnitude of a row, by a block.
template <typename Read>
__device__ float row_max(int k, Read read) {
  __shared__ float partial[kThreads / 32];
  float most = 0;
  for (int c = threadIdx.x; c < k; c += kThreads) most = fmaxf(most, fabsf(read(c)));
  most = warp_max(most);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = most;
  __syncthreads();
  most = 0;
  for (float value : partial) most = fmaxf(most, value);
  return most;
}

__global__ void pack_f8_kernel(const StagedRows in, __nv_fp8_e4m3* packed, float* scales) {
  const int64_t r = blockIdx.x;
  const auto read = [&](int c) { return load(in.data, in.f32, r * in.k + c); };
  const F8Scale f8 = f8_scale(row_max(in.k, read));
  for (int c = threadIdx.x; c < in.k; c += kThreads) {
    packed[(in.first_row + r) * in.k + c] = __nv_fp8_e4m3(read(c) * f8.inverse);
  }
  if (threadIdx.x == 0) scales[in.first_row + r] = f8.unit;
}

// A block per row; eight values a thread and step, so that a 4,096-wide row is read twice from L1.
__global__ void quantize_f8_kernel(const QuantizeF8Args a) {
  ptx::launch_dependents();
  ptx::wait_for_previous();
  const int64_t r = blockIdx.x;
  const auto* x = static_cast<const __nv_bfloat16*>(a.x) + r * a.x_stride;
  auto* q = static_cast<__nv_fp8_e4m3*>(a.q) + r * a.q_stride;
  const F8Scale f8 = f8_scale(row_max(a.k / 2, [&](int c) {
    const float2 pair = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162*>(x)[c]);
    return fmaxf(fabsf(pair.x), fabsf(pair.y));
  }));
  for (int c = threadIdx.x; c < a.k / 2; c += kThreads) {
    const float2 pair = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162*>(x)[c]);
    reinterpret_cast<__nv_fp8x2_e4m3*>(q)[c] = __nv_fp8x2_e4m3(make_float2(pair.x * f8.inverse, pair.y * f8.inverse));
  }
  if (threadIdx.x == 0) a.scales[r] = f8.unit;
}

unsigned blocks(int64_t warps) {
  return static_cast<unsigned>((warps * 32 + kThreads - 1) / kThreads);
}

}  // namespace

cudaError_t pack_i4(const StagedRows& rows, void* packed, cudaStream_t stream) {
  pack_i4_kernel<<<blocks(static_cast<int64_t>(rows.rows) * (rows.k / i4::kGroup)), kThreads, 0, stream>>>(rows,
                                                                                                           packed);
  return cudaGetLastError();
}

cudaError_t pack_i4_values(const StagedI4& rows, void* packed, cudaStream_t stream) {
  pack_i4_values_kernel<<<blocks(static_cast<int64_t>(rows.rows) * (rows.k / i4::kGroup)), kThreads, 0, stream>>>(
      rows, packed);
  return cudaGetLastError();
}

cudaError_t pack_f8(const StagedRows& rows, void* packed, float* scales, cudaStream_t stream) {
  pack_f8_kernel<<<rows.rows, kThreads, 0, stream>>>(rows, static_cast<__nv_fp8_e4m3*>(packed), scales);
  return cudaGetLastError();
}

cudaError_t quantize_f8(const QuantizeF8Args& args, cudaStream_t stream) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(args.rows);
  config.blockDim = dim3(kThreads);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, quantize_f8_kernel, args);
}

}  // namespace glimpse::cuda
