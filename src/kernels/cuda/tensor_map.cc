#include "kernels/cuda/tensor_map.h"

#include <cuda_runtime_api.h>

#include "base/check.h"

namespace glimpse::cuda {

namespace {

using Encode = decltype(&cuTensorMapEncodeTiled);

// Asked of the runtime, so that nothing here links against the driver.
Encode find_encode() {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  CHECK(error == cudaSuccess && found == cudaDriverEntryPointSuccess, cudaGetErrorString(error),
        static_cast<int>(found));
  return reinterpret_cast<Encode>(function);
}

}  // namespace

template <size_t kRank>
CUtensorMap tensor_map(const void* data, const std::array<uint64_t, kRank>& dims,
                       const std::array<uint64_t, kRank - 1>& strides_bytes, const std::array<uint32_t, kRank>& box,
                       CUtensorMapSwizzle swizzle) {
  static const Encode encode = find_encode();
  std::array<uint32_t, kRank> steps;
  steps.fill(1);
  CUtensorMap map{};
  const CUresult result = encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, kRank, const_cast<void*>(data), dims.data(),
                                 strides_bytes.data(), box.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                 CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, static_cast<int>(result), dims[0], dims[1], box[1]);
  return map;
}

template CUtensorMap tensor_map<2>(const void*, const std::array<uint64_t, 2>&, const std::array<uint64_t, 1>&,
                                   const std::array<uint32_t, 2>&, CUtensorMapSwizzle);
template CUtensorMap tensor_map<3>(const void*, const std::array<uint64_t, 3>&, const std::array<uint64_t, 2>&,
                                   const std::array<uint32_t, 3>&, CUtensorMapSwizzle);

}  // namespace glimpse::cuda
