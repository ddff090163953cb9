#pragma once

// CUDA_CHECK(call): for calls that only a bug of ours, or a lost device, can make fail. Allocation is checked by hand.

#include <cuda_runtime.h>

namespace glimpse::cuda {

[[noreturn]] void cuda_failed(const char* file, int line, const char* call, cudaError_t error);

}  // namespace glimpse::cuda

#define CUDA_CHECK(call)                                                                                  \
  do {                                                                                                    \
    const cudaError_t cuda_error_ = (call);                                                               \
    if (cuda_error_ != cudaSuccess) ::glimpse::cuda::cuda_failed(__FILE__, __LINE__, #call, cuda_error_); \
  } while (false)
