#pragma once

// The boundary between the executable and libglimpse_cuda.so: one C symbol, one number.

#include <cstdint>

#include "kernels/backend.h"

namespace glimpse {

// Raised with every change of what backend.h, ops.h or the structs below look like in memory.
constexpr uint32_t kCudaAbi = 5;

struct CudaLibrary {
  uint32_t abi = 0;
  // Result<std::unique_ptr<Backend>> through a pointer: C linkage cannot return it.
  void (*make)(const CudaOptions& options, Result<std::unique_ptr<Backend>>* out) = nullptr;
  // Devices that the driver offers; 0 without one.
  int (*count_devices)() = nullptr;
};

using CudaLibraryFunction = const CudaLibrary* (*)();
constexpr const char* kCudaLibrarySymbol = "glimpse_cuda_library";

}  // namespace glimpse
