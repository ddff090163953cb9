#include <cuda_runtime.h>

#include <mutex>
#include <unordered_set>

#include "kernels/cuda/error.h"

namespace glimpse::cuda {

void prefer_shared_memory(const void* kernel) {
  static std::mutex mutex;
  static std::unordered_set<const void*> done;
  const std::lock_guard lock(mutex);
  if (!done.insert(kernel).second) return;
  CUDA_CHECK(
      cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared));
}

}  // namespace glimpse::cuda
