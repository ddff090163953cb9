#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul_skinny_common.cuh"
#include "kernels/cuda/matmul_skinny_tiles.cuh"

namespace glimpse::cuda {

bool skinny_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device) {
  const int columns = weight.format == MatmulFormat::kI4   ? i4::kGroup
                      : weight.format == MatmulFormat::kF8 ? skinny::kSpan
                                                           : skinny::kSpan / 2;
  return device.arch == 90 && operands.rows >= 1 && operands.rows <= kSkinnyRows && weight.k % columns == 0 &&
         operands.x_scales == nullptr && operands.x_stride % 8 == 0 &&
         reinterpret_cast<uintptr_t>(operands.x) % 16 == 0;
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
