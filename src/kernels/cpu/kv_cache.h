#pragma once

// The CPU's paged keys and values, laid out so that attention multiplies them where they lie. Both are in words of 32
// bits: one float32, or two bfloat16 that are neighbours along the dimension that the product sums over (what vdpbf16ps
// wants). For each (layer, block, kv head), in this order:
//
//   keys    [head_dim / p][kKvBlock]        word (s, t): dimensions p s .. p s + p - 1 of token t
//   values  [kKvBlock / p][padded head_dim] word (s, d): dimension d of tokens p s .. p s + p - 1
//
// with p = 2 for bfloat16 and 1 for float32. head_dim is padded to 16 in the values; the padding stays zero. Slots that
// were never written, or were written by a sequence that is gone, hold anything.

#include <memory>

#include "kernels/backend.h"

namespace glimpse::cpu {

constexpr int32_t kKvBlock = 32;  // tokens of a block: two vectors of words

// Words of one head's keys, and of its values, in a block.
struct KvLayout {
  int32_t per_word;  // p
  int32_t steps;     // words along head_dim of a key
  int32_t padded;    // head_dim rounded up to 16
  int64_t key_words;
  int64_t value_words;

  static constexpr KvLayout of(DType dtype, int32_t head_dim) {
    const int32_t p = dtype == DType::kBF16 ? 2 : 1;
    const int32_t padded = (head_dim + 15) / 16 * 16;
    return {.per_word = p,
            .steps = head_dim / p,
            .padded = padded,
            .key_words = int64_t{head_dim / p} * kKvBlock,
            .value_words = int64_t{kKvBlock / p} * padded};
  }
  int64_t words() const { return key_words + value_words; }
};

struct CpuKv final : KvCache {
  // The words of one head in a block: keys, then values.
  uint32_t* head(int32_t layer, int64_t block, int32_t kv_head) const {
    return buffer.as<uint32_t>() +
           ((int64_t{layer} * spec.num_blocks + block) * spec.num_kv_heads + kv_head) * layout.words();
  }

  KvLayout layout{};
  Buffer buffer;
};

// Errors: kResource.
Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec, Backend& backend);

// Writes one token's keys and values, head_dim float32 each, rounded to the cache's dtype.
void kv_write(const CpuKv& kv, int32_t layer, int64_t slot, int32_t kv_head, const float* k, const float* v,
              CpuIsa isa);

}  // namespace glimpse::cpu
