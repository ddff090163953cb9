#include "kernels/cuda/error.h"

#include <string>

#include "base/check.h"

namespace glimpse::cuda {

void cuda_failed(const char* file, int line, const char* call, cudaError_t error) {
  check_failed(file, line, call, "cuda", std::string(cudaGetErrorName(error)) + ": " + cudaGetErrorString(error));
}

}  // namespace glimpse::cuda
