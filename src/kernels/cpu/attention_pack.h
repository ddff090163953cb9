// Text for the files that hold one instruction set each: bfloat16 keys and values to the words of a block.

void pack_block_bf16(const void* keys, const void* values, int64_t src_stride, int32_t tokens, int32_t head_dim,
                     uint32_t* key_words, uint32_t* value_words) {
  const KvLayout layout = KvLayout::of(DType::kBF16, head_dim);
  const auto* k = static_cast<const uint16_t*>(keys);
  const auto* v = static_cast<const uint16_t*>(values);
  for (int32_t t = 0; t < kKvBlock; ++t) {
    for (int32_t s = 0; s < layout.steps; ++s) {
      uint32_t word = 0;
      if (t < tokens) __builtin_memcpy(&word, k + t * src_stride + 2 * s, sizeof(word));
      key_words[s * kKvBlock + t] = word;
    }
  }
  for (int32_t t = 0; t < kKvBlock; t += 2) {
    uint32_t* to = value_words + int64_t{t / 2} * layout.padded;
    const uint16_t* even = v + t * src_stride;
    const uint16_t* odd = even + src_stride;
    if (t + 1 < tokens) {
      for (int32_t d = 0; d < head_dim; ++d) to[d] = even[d] | static_cast<uint32_t>(odd[d]) << 16;
    } else {
      for (int32_t d = 0; d < head_dim; ++d) to[d] = t < tokens ? even[d] : 0u;
    }
    for (int32_t d = head_dim; d < layout.padded; ++d) to[d] = 0;
  }
}
