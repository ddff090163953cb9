#pragma once

// What all weight products of sm_90 have in common: their operands as the kernels take them, and the launch.

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/matmul.h"

namespace glimpse::cuda {

// Of a CTA's shared memory, barriers and the system's share taken off.
constexpr int kMaxShared = 226 << 10;

struct ProductParams {
  const uint8_t* w;
  const float* bias;
  void* y;
  const int32_t* count;
  int64_t n;  // rows of W
  int64_t y_stride;
  int32_t k;
  int32_t units;  // output columns: rows of W, or gate/up pairs
  int32_t rows;   // of x
  bool y_f32;
  MatmulNext next;
};

inline ProductParams product_params(const MatmulWeight& weight, const MatmulOperands& operands) {
  return {.w = static_cast<const uint8_t*>(weight.data),
          .bias = weight.bias,
          .y = operands.y,
          .count = operands.count,
          .n = weight.n,
          .y_stride = operands.y_stride,
          .k = weight.k,
          .units = weight.gate_up ? weight.n / 2 : weight.n,
          .rows = operands.rows,
          .y_f32 = operands.y_f32,
          .next = operands.next};
}

// Rows of x that count, once the kernels before this one are done.
__device__ __forceinline__ int32_t used_rows(const ProductParams& p) {
  return p.count == nullptr ? p.rows : min(p.rows, __ldcg(p.count));
}

// A launch that may begin while the kernels before it end, in clusters of `cluster` CTAs, which divides the grid.
class ProductLaunch {
 public:
  ProductLaunch(int grid, int threads, int shared, int cluster, cudaStream_t stream) {
    attributes_[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes_[0].val.programmaticStreamSerializationAllowed = 1;
    attributes_[1].id = cudaLaunchAttributeClusterDimension;
    attributes_[1].val.clusterDim.x = cluster;
    attributes_[1].val.clusterDim.y = 1;
    attributes_[1].val.clusterDim.z = 1;
    config_.gridDim = dim3(grid);
    config_.blockDim = dim3(threads);
    config_.dynamicSmemBytes = shared;
    config_.stream = stream;
    config_.attrs = attributes_;
    config_.numAttrs = cluster == 1 ? 1 : 2;
  }
  ProductLaunch(const ProductLaunch&) = delete;
  ProductLaunch& operator=(const ProductLaunch&) = delete;

  const cudaLaunchConfig_t& config() const { return config_; }

  template <typename... Params>
  cudaError_t run(void (*function)(Params...), const Params&... params) const {
    if (auto error = allow(function); error != cudaSuccess) return error;
    return cudaLaunchKernelEx(&config_, function, params...);
  }

  // All of an SM's shared memory for such kernels: those that want different divisions of it do not run beside each
  // other.
  template <typename... Params>
  static cudaError_t allow(void (*function)(Params...)) {
    if (auto error = cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, kMaxShared);
        error != cudaSuccess) {
      return error;
    }
    return cudaFuncSetAttribute(function, cudaFuncAttributePreferredSharedMemoryCarveout,
                                cudaSharedmemCarveoutMaxShared);
  }

 private:
  cudaLaunchAttribute attributes_[2] = {};
  cudaLaunchConfig_t config_ = {};
};

}  // namespace glimpse::cuda
