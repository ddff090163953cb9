#include <algorithm>

#include "kernels/cuda/matmul_skinny.cuh"

namespace glimpse::cuda::skinny {

cudaError_t launch_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                      cudaStream_t stream) {
  return launch_any<MatmulFormat::kI4>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda::skinny
