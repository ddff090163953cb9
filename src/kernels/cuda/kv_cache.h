#pragma once

#include "kernels/backend.h"
#include "kernels/cuda/kv_layout.h"

namespace glimpse::cuda {

class CudaKv final : public KvCache {
 public:
  KvLayer layer(int32_t index) const {
    const size_t part = part_bytes();
    std::byte* base = memory.as<std::byte>() + 2 * part * static_cast<size_t>(index);
    return {.k = base,
            .v = base + part,
            .dtype = spec.dtype,
            .num_blocks = spec.num_blocks,
            .num_kv_heads = spec.num_kv_heads,
            .head_dim = spec.head_dim};
  }
  // One layer's keys, or its values.
  size_t part_bytes() const {
    return static_cast<size_t>(int64_t{spec.num_blocks} * spec.num_kv_heads * kKvBlockSize * spec.head_dim) *
           dtype_bytes(spec.dtype);
  }

  Buffer memory;
};

inline KvLayer kv_layer(const KvCache& kv, int32_t layer) {
  return static_cast<const CudaKv&>(kv).layer(layer);
}

}  // namespace glimpse::cuda
