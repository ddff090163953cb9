#pragma once

// What the fast attention kernels are given (attention_fast.h says which one runs). Device addresses and constants
// only.

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/attention_fast.h"

namespace glimpse::cuda {

// Queries of sequence s are rows [cu_seqlens[s], cu_seqlens[s + 1]) of q. Varlen: keys are the same rows. Paged: keys
// are the first context_lens[s] tokens of the blocks in row s of block_table, and a query sees those up to itself.
struct AttentionProblem {
  bool paged = false;
  const int32_t* num_seqs = nullptr;
  int32_t seqs_capacity = 0;
  int32_t tokens_capacity = 0;
  const int32_t* cu_seqlens = nullptr;
  const int32_t* context_lens = nullptr;
  const int32_t* block_table = nullptr;
  int32_t max_blocks = 0;
  int32_t num_heads = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  float scale = 0;
  // Sequences with fewer or more queries are left alone: another kernel of the same step has them.
  int32_t min_queries = 0;
  int32_t max_queries = INT32_MAX;

  // Element type of q, k and v in `dtype`, of `out` in out_dtype (bfloat16 or float32). Strides count elements.
  DType dtype = DType::kBF16;
  DType q_dtype = DType::kBF16;
  DType out_dtype = DType::kBF16;
  const void* q = nullptr;  // [tokens, num_heads head_dim]
  int64_t q_stride = 0;
  const void* k = nullptr;  // varlen: as q; paged: [num_blocks, num_kv_heads, kKvBlockSize, head_dim]
  const void* v = nullptr;
  int64_t kv_stride = 0;   // varlen
  int32_t num_blocks = 0;  // paged
  void* out = nullptr;     // [tokens, num_heads head_dim]
  int64_t out_stride = 0;
};

// Varlen and paged prefill on sm_90. bfloat16, head_dim 128, num_heads / num_kv_heads a power of two up to 64, rows
// 16-byte aligned.
bool wgmma_can(const AttentionProblem& problem, int compute_capability);
void attention_wgmma(const AttentionProblem& problem, const AttentionLaunch& launch);

// Paged, bfloat16, head_dim 64 or 128, any number of queries and heads; meant for few queries.
bool decode_can(const AttentionProblem& problem);
size_t decode_workspace(const AttentionProblem& problem, int sm_count);
size_t decode_counters(int sm_count);
void attention_decode(const AttentionProblem& problem, const AttentionLaunch& launch);

// bfloat16, head_dim a multiple of 8, rows 16-byte aligned.
bool mma_can(const AttentionProblem& problem);
void attention_mma(const AttentionProblem& problem, const AttentionLaunch& launch);

}  // namespace glimpse::cuda
