#include "kernels/cuda/matmul_skinny.cuh"

namespace glimpse::cuda {

bool skinny_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  const int element = weight.format == MatmulFormat::kF8 ? 1 : 2;
  const int columns = weight.format == MatmulFormat::kI4 ? i4::kGroup : skinny::kSpan / element;
  return device.arch == 90 && operands.rows >= 1 && operands.rows <= kSkinnyRows && weight.k % columns == 0 &&
         operands.x_stride * element % 16 == 0 && reinterpret_cast<uintptr_t>(operands.x) % 16 == 0;
}

cudaError_t matmul_skinny(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                          cudaStream_t stream) {
  switch (weight.format) {
    case MatmulFormat::kBF16:
      return skinny::launch_bf16(weight, operands, device, stream);
    case MatmulFormat::kF8:
      return skinny::launch_f8(weight, operands, device, stream);
    case MatmulFormat::kI4:
      return skinny::launch_i4(weight, operands, device, stream);
  }
  return cudaErrorInvalidValue;
}

}  // namespace glimpse::cuda
