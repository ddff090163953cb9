#include "kernels/cpu/kv_cache.h"

#include <sys/mman.h>

#include <cstring>

#include "base/check.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/row_kernels.h"

namespace glimpse::cpu {

Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec, Backend& backend) {
  CHECK(spec.dtype == DType::kF32 || spec.dtype == DType::kBF16, dtype_name(spec.dtype));
  CHECK(spec.head_dim > 0 && spec.head_dim % 2 == 0 && spec.head_dim <= kMaxHeadDim, spec.head_dim);
  auto kv = std::make_unique<CpuKv>();
  kv->spec = spec;
  kv->layout = KvLayout::of(spec.dtype, spec.head_dim);
  kv->block_size = kKvBlock;
  kv->block_bytes = int64_t{spec.num_layers} * spec.num_kv_heads * kv->layout.words() * int64_t{sizeof(uint32_t)};
  const auto bytes = static_cast<size_t>(kv->block_bytes * spec.num_blocks);
  ASSIGN_OR_RETURN(kv->buffer, backend.allocate(bytes, MemoryKind::kDevice));
  // A small pool becomes real memory at once: then a server's memory does not grow while its blocks are met for the
  // first time. A large one does as it is used. Where the kernel does not know this, nothing is lost.
  if (bytes <= kSmallPoolBytes) madvise(kv->buffer.data(), bytes, MADV_POPULATE_WRITE);
  return std::unique_ptr<KvCache>(std::move(kv));
}

void kv_write(const CpuKv& kv, int32_t layer, int64_t slot, int32_t kv_head, const float* k, const float* v,
              CpuIsa isa) {
  const KvLayout& layout = kv.layout;
  const int32_t p = layout.per_word;
  const int64_t token = slot % kKvBlock;
  uint32_t* const keys = kv.head(layer, slot / kKvBlock, kv_head);
  uint32_t* const values = keys + layout.key_words + token / p * layout.padded;
  if (p == 1) {
    auto* key_floats = reinterpret_cast<float*>(keys) + token;
    for (int32_t d = 0; d < kv.spec.head_dim; ++d) key_floats[int64_t{d} * kKvBlock] = k[d];
    std::memcpy(values, v, static_cast<size_t>(kv.spec.head_dim) * sizeof(float));
    return;
  }
  const auto narrow = row_kernels(isa).narrow;
  uint32_t key_pairs[kMaxHeadDim / 2];
  narrow(k, kv.spec.head_dim, reinterpret_cast<bf16*>(key_pairs));
  for (int32_t s = 0; s < layout.steps; ++s) keys[int64_t{s} * kKvBlock + token] = key_pairs[s];
  // One element at a time: two tokens that share a word may be written by two threads at once.
  bf16 rounded[kMaxHeadDim];
  narrow(v, kv.spec.head_dim, rounded);
  auto* halves = reinterpret_cast<bf16*>(values) + token % 2;
  for (int32_t d = 0; d < kv.spec.head_dim; ++d) halves[2 * d] = rounded[d];
}

void kv_read(const KvReadArgs& args, Context&) {
  const auto& kv = static_cast<const CpuKv&>(*args.kv);
  const KvLayout& layout = kv.layout;
  const int64_t token = args.slot % kKvBlock;
  for (int32_t h = 0; h < kv.spec.num_kv_heads; ++h) {
    const uint32_t* keys = kv.head(args.layer, args.slot / kKvBlock, h);
    const uint32_t* values = keys + layout.key_words;
    for (int32_t d = 0; d < kv.spec.head_dim; ++d) {
      float& k = args.k[int64_t{h} * kv.spec.head_dim + d];
      float& v = args.v[int64_t{h} * kv.spec.head_dim + d];
      if (layout.per_word == 1) {
        k = reinterpret_cast<const float*>(keys)[int64_t{d} * kKvBlock + token];
        v = reinterpret_cast<const float*>(values)[token * layout.padded + d];
      } else {
        k = to_float(reinterpret_cast<const bf16*>(keys)[(int64_t{d / 2} * kKvBlock + token) * 2 + d % 2]);
        v = to_float(reinterpret_cast<const bf16*>(values)[(token / 2 * layout.padded + d) * 2 + token % 2]);
      }
    }
  }
}

}  // namespace glimpse::cpu
