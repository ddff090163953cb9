#pragma once

// Flash attention over tiles of keys and values, in each instruction set. attention_paged and attention_varlen choose
// queries, tokens and threads; the arithmetic of both is here.
//
// A thread holds up to AttentionKernels::query_rows rows: (query, head) pairs that read the same kv head. It goes
// through the visible tokens in tiles of kTileTokens, and for each tile computes the scores of all rows (float32),
// moves the running maxima, turns scores into weights 2^(s - max) (bfloat16 beside a bfloat16 cache), and adds weights
// times values to the sums of its rows. A row's result depends neither on the rows beside it nor on how many there are.

#include <cstdint>

#include "kernels/backend.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/ops.h"
#include "tensor/dtype.h"

namespace glimpse::cpu {

constexpr int kQueryRows = 24;     // that vector registers hold the sums of
constexpr int kMaxQueryRows = 32;  // two tiles
constexpr int kTileTokens = 128;
constexpr int kTileBlocks = kTileTokens / kKvBlock;

// Where the tile's keys and values lie, and what of it the rows see.
struct AttentionTile {
  const uint32_t* keys[kTileBlocks];  // of ceil(tokens / kKvBlock) blocks, see kv_cache.h
  const uint32_t* values[kTileBlocks];
  const uint32_t* next[kTileBlocks] = {};  // keys of the following tile's blocks, or null: fetched meanwhile
  int32_t tokens = 0;                      // 1 .. kTileTokens; whatever lies behind them is never used
  const int32_t* visible = nullptr;  // [rows]: row r sees the tile's first visible[r] tokens, <= 0: none; null: all
};

// What a thread's rows have summed so far.
struct AttentionSums {
  int32_t rows = 0;
  int32_t head_dim = 0;
  KvLayout layout{};

  alignas(64) float max[kMaxQueryRows];                 // of scale * log2(e) * score
  alignas(64) float weight_sum[kMaxQueryRows];          // of 2^(scaled score - max)
  alignas(64) float sums[kMaxQueryRows * kMaxHeadDim];  // [rows][layout.padded], of weight * value

  // Nothing seen yet.
  void clear();
  // Adds the tokens that `part` has seen to those seen here.
  void merge(const AttentionSums& part);
  void copy_from(const AttentionSums& other);
  // Writes row r's output, head_dim float32: sums / weight_sum, or zeros when it saw nothing.
  void finish(int32_t r, float* out) const;
};

// And what it works with. Large: lives on the thread's stack.
struct AttentionState : AttentionSums {
  float scale = 0;  // of the scores, times log2(e)

  alignas(64) uint32_t q[kMaxHeadDim * kQueryRows];              // as load_query wrote them
  alignas(64) float scores[kMaxQueryRows * kTileTokens];         // [rows][kTileTokens]
  alignas(64) uint32_t weights[kMaxQueryRows * kTileTokens];     // [rows][kTileTokens / per_word]
  alignas(64) uint32_t last_values[kKvBlock / 2 * kMaxHeadDim];  // the word row of an odd last token, its partner zero;
                                                                 // or the block that the tile ends in, zeros behind
  alignas(64) float shrink[kMaxQueryRows];                       // 2^(old max - new max)
};

struct AttentionKernels {
  int query_rows;  // of a state, at most
  // From a query to the next in AttentionState::q. 1: word s of row r is q[s * kQueryRows + r].
  int query_stride;
  // Around all other calls of a thread; null: nothing to do.
  void (*begin)();
  void (*end)();
  // Writes the words of a query of head_dim elements from q + r * query_stride on; src is kF32 or kBF16.
  void (*load_query)(const void* src, DType dtype, int32_t head_dim, uint32_t* dst);
  void (*add_tile)(AttentionState& state, const AttentionTile& tile);
  // Up to kKvBlock tokens' keys and values, rows of src_stride elements, to a block's words; the rest becomes zeros.
  void (*pack_block)(const void* keys, const void* values, int64_t src_stride, int32_t tokens, int32_t head_dim,
                     uint32_t* key_words, uint32_t* value_words);
};

// What begin() and end() of the kernels stand around.
class AttentionScope {
 public:
  explicit AttentionScope(const AttentionKernels& kernels) : kernels_(kernels) {
    if (kernels_.begin != nullptr) kernels_.begin();
  }
  ~AttentionScope() {
    if (kernels_.end != nullptr) kernels_.end();
  }
  AttentionScope(const AttentionScope&) = delete;
  AttentionScope& operator=(const AttentionScope&) = delete;

 private:
  const AttentionKernels& kernels_;
};

// For caches (or packed vision keys) of dtype kF32 or kBF16.
const AttentionKernels& attention_kernels_avx2(DType dtype);
const AttentionKernels& attention_kernels_avx512(DType dtype);
const AttentionKernels& attention_kernels_avx512_bf16(DType dtype);
// Where head_dim is a whole number of tiles; otherwise those above.
const AttentionKernels& attention_kernels_amx(DType dtype, int32_t head_dim);

inline const AttentionKernels& attention_kernels(CpuIsa isa, DType dtype, int32_t head_dim) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return attention_kernels_avx2(dtype);
    case CpuIsa::kAvx512:
      return attention_kernels_avx512(dtype);
    case CpuIsa::kAvx512Bf16:
      break;
    case CpuIsa::kAmx:
      return attention_kernels_amx(dtype, head_dim);
  }
  return attention_kernels_avx512_bf16(dtype);
}

}  // namespace glimpse::cpu
