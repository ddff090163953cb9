#include "kernels/cuda/matmul_skinny.cuh"

namespace glimpse::cuda::skinny {

cudaError_t launch_f8(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                      cudaStream_t stream) {
  return launch_any<MatmulFormat::kF8>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda::skinny
