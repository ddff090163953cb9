#pragma once

// Where keys and values lie. One allocation; for each layer first all keys, then all values, each as
//   [num_blocks, num_kv_heads, kKvBlockSize, head_dim]
// of bfloat16, float16 or float32, rows tightly packed. So one (block, head) is a dense tile of kKvBlockSize tokens,
// and one layer's keys (or values) are a plain four-dimensional tensor, which the copy engine can be given.

#include <cstdint>

#include "tensor/dtype.h"
#include "tensor/host_device.h"

namespace glimpse::cuda {

constexpr int32_t kKvBlockSize = 64;  // tokens

// One layer of the cache, as kernels take it by value.
struct KvLayer {
  void* k = nullptr;  // [num_blocks, num_kv_heads, kKvBlockSize, head_dim]
  void* v = nullptr;  // the same
  DType dtype = DType::kBF16;
  int32_t num_blocks = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;

  // Element offset, in k and in v, of a head's vector of one slot (slot = block * kKvBlockSize + token in block).
  GLIMPSE_HOST_DEVICE int64_t offset(int64_t slot, int32_t kv_head) const {
    const int64_t block = slot / kKvBlockSize;
    const int64_t token = slot % kKvBlockSize;
    return ((block * num_kv_heads + kv_head) * kKvBlockSize + token) * head_dim;
  }
};

}  // namespace glimpse::cuda
