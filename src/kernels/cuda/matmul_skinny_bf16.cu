#include "kernels/cuda/matmul_skinny.cuh"

namespace glimpse::cuda::skinny {

cudaError_t launch_bf16(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                        cudaStream_t stream) {
  return launch_any<MatmulFormat::kBF16>(weight, operands, device, stream);
}

}  // namespace glimpse::cuda::skinny
