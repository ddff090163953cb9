#pragma once

// Attention in float64 on the device, one block for each (query, head), written for reading; and the limit of each
// output element (docs/numerics.md, "Attention"). What the kernels in src/kernels/cuda are compared with.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/kv_layout.h"

namespace glimpse::bench {

constexpr int kTruthThreads = 128;
constexpr int kTruthKeys = 24576;  // float64 scores that fit in shared memory

struct TruthArgs {
  bool paged;
  bool f32;  // element type of q, k, v (else bfloat16)
  const void* q;
  int64_t q_stride;
  const void* k;  // varlen: rows of k and v, kv_stride elements apart
  const void* v;
  int64_t kv_stride;
  cuda::KvLayer kv;  // paged
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks;
  int32_t num_seqs;
  int32_t num_heads, num_kv_heads, head_dim;
  double scale;
  int32_t every;  // only tokens t with t % every == 0, and the last 3 of each sequence
  float* out;     // [tokens, num_heads head_dim]; NaN where not computed
  float* limit;   // the same, without the step of the output's dtype
};

__device__ inline double element(const void* p, bool f32, int64_t i) {
  return f32 ? static_cast<const float*>(p)[i]
             : static_cast<double>(__bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]));
}

__global__ void __launch_bounds__(kTruthThreads) truth_kernel(const TruthArgs a) {
  extern __shared__ double weight[];
  __shared__ double scratch[kTruthThreads];
  const auto t = static_cast<int32_t>(blockIdx.x);
  const auto h = static_cast<int32_t>(blockIdx.y);
  const auto thread = static_cast<int32_t>(threadIdx.x);
  int32_t s = 0;
  while (s < a.num_seqs && t >= a.cu_seqlens[s + 1]) ++s;
  if (s == a.num_seqs) return;
  const int32_t begin = a.cu_seqlens[s], end = a.cu_seqlens[s + 1];
  if (t % a.every != 0 && t + 3 < end) return;
  const int32_t visible = a.paged ? max(0, a.context_lens[s] - (end - 1 - t)) : end - begin;
  const int32_t kv_head = h / (a.num_heads / a.num_kv_heads);
  const auto at = [&](int32_t j) -> int64_t {
    if (!a.paged) return int64_t{begin + j} * a.kv_stride + kv_head * a.head_dim;
    const int64_t block = a.block_table[int64_t{s} * a.max_blocks + j / cuda::kKvBlockSize];
    return a.kv.offset(block * cuda::kKvBlockSize + j % cuda::kKvBlockSize, kv_head);
  };
  const void* k = a.paged ? a.kv.k : a.k;
  const void* v = a.paged ? a.kv.v : a.v;
  const auto reduce = [&](double x, bool sum) {
    __syncthreads();
    scratch[thread] = x;
    __syncthreads();
    double y = scratch[0];
    for (int i = 1; i < kTruthThreads; ++i) y = sum ? y + scratch[i] : fmax(y, scratch[i]);
    return y;
  };
  double top = -INFINITY, size = 0;
  for (int32_t j = thread; j < visible; j += kTruthThreads) {
    double score = 0, magnitude = 0;
    for (int32_t d = 0; d < a.head_dim; ++d) {
      const double x = element(a.q, a.f32, t * a.q_stride + h * a.head_dim + d) * element(k, a.f32, at(j) + d);
      score += x;
      magnitude += fabs(x);
    }
    weight[j] = score * a.scale;
    top = fmax(top, weight[j]);
    size = fmax(size, magnitude);
  }
  top = reduce(top, false);
  size = reduce(size, false);
  double sum = 0;
  for (int32_t j = thread; j < visible; j += kTruthThreads) sum += weight[j] = exp(weight[j] - top);
  sum = reduce(sum, true);
  for (int32_t d = thread; d < a.head_dim; d += kTruthThreads) {
    double o = 0, magnitude = 0;
    for (int32_t j = 0; j < visible; ++j) {
      const double x = weight[j] * element(v, a.f32, at(j) + d);
      o += x;
      magnitude += fabs(x);
    }
    const double rounded_weights = a.f32 ? 0 : 0x1p-8;
    const double scores = 2 * a.scale * size * (a.head_dim + 2) * 0x1p-24;
    const int64_t to = (int64_t{t} * a.num_heads + h) * a.head_dim + d;
    a.out[to] = visible > 0 ? static_cast<float>(o / sum) : 0.0f;
    a.limit[to] = visible > 0
                      ? static_cast<float>(2 * (rounded_weights + scores + (visible + 16) * 0x1p-24) * magnitude / sum)
                      : 0.0f;
  }
}

}  // namespace glimpse::bench
