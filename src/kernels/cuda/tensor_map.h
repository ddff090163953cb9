#pragma once

// Descriptions of tensors for Hopper's copy engine.

#include <cuda.h>

#include <array>
#include <cstdint>

namespace glimpse::cuda {

// A bfloat16 tensor of `kRank` dimensions, fastest first, and the box that one copy brings to shared memory, by default
// in the 128-byte swizzle (so box[0] is 64 elements). strides_bytes[i] is the step of dimension i + 1, a multiple of
// 16; `data` is 16-byte aligned. Pure host arithmetic in the driver; the result goes to kernels by value
// (__grid_constant__).
template <size_t kRank>
CUtensorMap tensor_map(const void* data, const std::array<uint64_t, kRank>& dims,
                       const std::array<uint64_t, kRank - 1>& strides_bytes, const std::array<uint32_t, kRank>& box,
                       CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_128B);

extern template CUtensorMap tensor_map<2>(const void*, const std::array<uint64_t, 2>&, const std::array<uint64_t, 1>&,
                                          const std::array<uint32_t, 2>&, CUtensorMapSwizzle);
extern template CUtensorMap tensor_map<3>(const void*, const std::array<uint64_t, 3>&, const std::array<uint64_t, 2>&,
                                          const std::array<uint32_t, 3>&, CUtensorMapSwizzle);

}  // namespace glimpse::cuda
