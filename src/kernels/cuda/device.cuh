#pragma once

// What all kernels use: element access by dtype, sums over a block, launches.

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "base/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/stream.h"
#include "tensor/tensor.h"

namespace glimpse::cuda {

// Elements as float32, and back.
__device__ inline float to_f32(float x) {
  return x;
}
__device__ inline float to_f32(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
__device__ inline float to_f32(__half x) {
  return __half2float(x);
}
__device__ inline void put(float* p, float x) {
  *p = x;
}
__device__ inline void put(__nv_bfloat16* p, float x) {
  *p = __float2bfloat16_rn(x);
}

// Eight elements from or to an address aligned to eight of them (16 bytes of bf16, 32 of float32).
__device__ inline void load8(const float* p, float (&out)[8]) {
  const float4 a = reinterpret_cast<const float4*>(p)[0];
  const float4 b = reinterpret_cast<const float4*>(p)[1];
  out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
  out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
}
__device__ inline void load8(const __nv_bfloat16* p, float (&out)[8]) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
__device__ inline void store8(float* p, const float (&x)[8]) {
  reinterpret_cast<float4*>(p)[0] = make_float4(x[0], x[1], x[2], x[3]);
  reinterpret_cast<float4*>(p)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
__device__ inline void store8(__nv_bfloat16* p, const float (&x)[8]) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
    words[i] = *reinterpret_cast<const uint32_t*>(&pair);
  }
  *reinterpret_cast<uint4*>(p) = make_uint4(words[0], words[1], words[2], words[3]);
}

// x as it would be read back.
template <typename T>
__device__ float rounded(float x) {
  T stored;
  put(&stored, x);
  return to_f32(stored);
}

// As block_sum, with one barrier; the scratch may not be used again.
__device__ inline float block_sum_once(float x, float* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = static_cast<int>(threadIdx.x % 32) < warps ? scratch[threadIdx.x % 32] : 0.0f;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  return x;
}

// Sum over a block of up to 1024 threads (a multiple of 32); every thread gets it. `scratch` holds 32 floats and is
// free again afterwards.
__device__ inline float block_sum(float x, float* scratch) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  const int warps = static_cast<int>(blockDim.x) / 32;
  if (warps == 1) return x;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  x = static_cast<int>(threadIdx.x % 32) < warps ? scratch[threadIdx.x % 32] : 0.0f;
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
  __syncthreads();
  return x;
}

__device__ inline float gelu(float x) {
  return 0.5f * x * erfcf(-x * 0.70710678118654752f);
}
__device__ inline float silu(float x) {
  return x / (1.0f + __expf(-x));
}

// Calls f with a null pointer of the element type.
template <typename F>
void with_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::kF32:
      return f(static_cast<float*>(nullptr));
    case DType::kBF16:
      return f(static_cast<__nv_bfloat16*>(nullptr));
    default:
      CHECK(false, dtype_name(dtype));
  }
}

// Whether rows of the matrix can be read in pieces of eight elements.
inline bool in_eights(const Matrix& m) {
  const auto bytes = 8 * dtype_bytes(m.dtype);
  return m.data == nullptr ||
         (m.cols % 8 == 0 && m.stride % 8 == 0 && reinterpret_cast<uintptr_t>(m.data) % bytes == 0);
}

inline int ceil_div(int64_t a, int64_t b) {
  return static_cast<int>((a + b - 1) / b);
}

// Programmatic dependent launch: a kernel started by launch() below may begin while the one before it is still running.
// It has to call wait_for_previous() before it reads or writes anything that others touch (constants such as weights it
// may read before); after that everything enqueued earlier is complete and visible. Every kernel started so calls it.
using ptx::launch_dependents;
using ptx::wait_for_previous;

// Kernels that want different divisions of an SM's memory into cache and shared memory do not run beside each other,
// and the products want all of it shared.
void prefer_shared_memory(const void* kernel);

template <typename... Params, typename... Args>
void launch(void (*kernel)(Params...), dim3 grid, int threads, const CudaStream& stream, const Args&... args) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = stream.handle();
  config.attrs = &attribute;
  config.numAttrs = stream.launches_dependently() ? 1 : 0;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...));
}

// A launch's own faults; those of the kernel show up at the next synchronisation.
inline void check_launch() {
  CUDA_CHECK(cudaGetLastError());
}

}  // namespace glimpse::cuda
