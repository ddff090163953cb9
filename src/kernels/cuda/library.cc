#include "kernels/cuda/library.h"

#include <cuda_runtime_api.h>

#include "kernels/cuda/backend.h"

extern "C" __attribute__((visibility("default"))) const glimpse::CudaLibrary* glimpse_cuda_library() {
  static constexpr glimpse::CudaLibrary kLibrary = {
      .abi = glimpse::kCudaAbi,
      .make =
          [](const glimpse::CudaOptions& options, glimpse::Result<std::unique_ptr<glimpse::Backend>>* out) {
            *out = glimpse::cuda::make_backend(options);
          },
      .count_devices =
          [] {
            int count = 0;
            return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
          },
  };
  return &kLibrary;
}
