#pragma once

// What the CUDA benches share: checked calls, random device data, timing of captured graphs, the copy bandwidth.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <utility>
#include <vector>

#define BENCH_CHECK(call)                                                                                  \
  do {                                                                                                     \
    const cudaError_t bench_error = (call);                                                                \
    if (bench_error != cudaSuccess) {                                                                      \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(bench_error)); \
      std::exit(1);                                                                                        \
    }                                                                                                      \
  } while (false)

namespace bench {

// Device memory, freed at the end.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) { BENCH_CHECK(cudaMalloc(&data_, bytes)); }
  ~Memory() { cudaFree(data_); }
  Memory(Memory&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Memory& operator=(Memory&&) = delete;
  template <typename T = void>
  T* get() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_;
};

__device__ __host__ inline uint32_t hash(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}

// Roughly normal with deviation `deviation`: the sum of four uniforms.
__device__ inline float random_value(uint64_t index, uint32_t seed, float deviation) {
  float sum = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    sum += static_cast<float>(hash(static_cast<uint32_t>(index) * 4 + i + hash(seed + (index >> 30)))) * 0x1p-32f;
  }
  return (sum - 2.0f) * 1.732f * deviation;
}

__global__ void fill_bf16(__nv_bfloat16* data, size_t count, uint32_t seed, float deviation) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    data[i] = __float2bfloat16_rn(random_value(i, seed, deviation));
  }
}

// Bytes of any value up to `limit`.
__global__ void fill_bytes(uint8_t* data, size_t count, uint32_t seed, uint32_t limit) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    data[i] = static_cast<uint8_t>(hash(static_cast<uint32_t>(i) ^ hash(seed)) % limit);
  }
}

__global__ void fill_f32(float* data, size_t count, uint32_t seed, float deviation, float mean) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    data[i] = mean + random_value(i, seed, deviation);
  }
}

// Microseconds of one replay of what `enqueue` puts on the stream, captured once; median of `repeats`, after two.
inline double graph_us(cudaStream_t stream, const std::function<void(cudaStream_t)>& enqueue, int repeats = 7) {
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  BENCH_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  enqueue(stream);
  BENCH_CHECK(cudaStreamEndCapture(stream, &graph));
  BENCH_CHECK(cudaGraphInstantiate(&executable, graph, 0));
  cudaEvent_t begin;
  cudaEvent_t end;
  BENCH_CHECK(cudaEventCreate(&begin));
  BENCH_CHECK(cudaEventCreate(&end));
  std::vector<double> times;
  for (int i = 0; i < repeats + 2; ++i) {
    BENCH_CHECK(cudaEventRecord(begin, stream));
    BENCH_CHECK(cudaGraphLaunch(executable, stream));
    BENCH_CHECK(cudaEventRecord(end, stream));
    BENCH_CHECK(cudaStreamSynchronize(stream));
    float ms = 0;
    BENCH_CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 2) times.push_back(ms * 1e3);
  }
  BENCH_CHECK(cudaEventDestroy(begin));
  BENCH_CHECK(cudaEventDestroy(end));
  BENCH_CHECK(cudaGraphExecDestroy(executable));
  BENCH_CHECK(cudaGraphDestroy(graph));
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

// Bytes read and written per second by a device-to-device copy of 2 GiB.
inline double copy_bandwidth(cudaStream_t stream) {
  constexpr size_t kBytes = size_t{2} << 30;
  const Memory from(kBytes);
  const Memory to(kBytes);
  BENCH_CHECK(cudaMemset(from.get(), 1, kBytes));
  const double us = graph_us(stream, [&](cudaStream_t s) {
    BENCH_CHECK(cudaMemcpyAsync(to.get(), from.get(), kBytes, cudaMemcpyDeviceToDevice, s));
  });
  return 2.0 * kBytes / us * 1e6;
}

// Bytes per second that a plain kernel reads.
__global__ void read_kernel(const uint4* data, size_t count, uint32_t* out) {
  uint32_t sum = 0;
  const size_t step = static_cast<size_t>(gridDim.x) * blockDim.x;
  size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
  for (; i + 3 * step < count; i += 4 * step) {
    const uint4 a = __ldcs(data + i);
    const uint4 b = __ldcs(data + i + step);
    const uint4 c = __ldcs(data + i + 2 * step);
    const uint4 d = __ldcs(data + i + 3 * step);
    sum += a.x ^ a.y ^ a.z ^ a.w ^ b.x ^ b.y ^ b.z ^ b.w ^ c.x ^ c.y ^ c.z ^ c.w ^ d.x ^ d.y ^ d.z ^ d.w;
  }
  if (sum == 0x12345678u) *out = sum;
}

inline double read_bandwidth(cudaStream_t stream) {
  constexpr size_t kBytes = size_t{4} << 30;
  const Memory from(kBytes);
  const Memory out(4);
  fill_bytes<<<2048, 256>>>(from.get<uint8_t>(), kBytes, 1, 256);
  BENCH_CHECK(cudaDeviceSynchronize());
  const double us = graph_us(stream, [&](cudaStream_t s) {
    read_kernel<<<132 * 8, 256, 0, s>>>(from.get<uint4>(), kBytes / 16, out.get<uint32_t>());
  });
  return kBytes / us * 1e6;
}

}  // namespace bench
