#pragma once

// Launching a kernel: programmatic dependent launch, clusters of thread blocks.

#include <cuda_runtime.h>

#include "kernels/cuda/attention_fast.h"
#include "kernels/cuda/error.h"

namespace glimpse::cuda {

template <typename... Params, typename... Args>
void launch_kernel(void (*kernel)(Params...), dim3 grid, int threads, size_t shared_bytes,
                   const AttentionLaunch& launch, int cluster, const Args&... args) {
  cudaLaunchAttribute attributes[2]{};
  unsigned count = 0;
  if (launch.pdl && launch.compute_capability >= 90) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count++].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  }
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = shared_bytes;
  config.stream = launch.stream;
  config.attrs = attributes;
  config.numAttrs = count;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, args...));
}

// More than 48 KB of shared memory for a kernel; and all that can be of an SM's memory, so that the kernel may run
// beside others that ask for that (device.cuh, prefer_shared_memory).
template <typename Kernel>
void allow_shared(Kernel* kernel, size_t bytes) {
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
}

}  // namespace glimpse::cuda
