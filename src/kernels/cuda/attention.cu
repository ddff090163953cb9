// Attention: which kernel runs, and the plain one for what the fast ones do not take: one warp a query and head, keys
// one after another, everything in float32.

#include "kernels/cuda/attention_fast.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/f8_rows.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/ops.h"

namespace glimpse::cuda {

namespace {

constexpr int kWarps = 4;
constexpr int kMaxPerLane = kMaxHeadDim / 32;

// softmax(scale q k^T) v over `visible` tokens; key(j) and value(j) point to rows of head_dim. Called by whole warps.
template <typename K, typename Q, typename Out, typename Key, typename Value>
__device__ void attend(const Q* q, int32_t head_dim, float scale, int32_t visible, const Key& key, const Value& value,
                       Out* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float query[kMaxPerLane];
  float sums[kMaxPerLane];
#pragma unroll
  for (int i = 0; i < kMaxPerLane; ++i) {
    const int d = lane + 32 * i;
    query[i] = d < head_dim ? to_f32(q[d]) * scale : 0.0f;
    sums[i] = 0;
  }
  float max = -INFINITY;
  float total = 0;
  for (int32_t j = 0; j < visible; ++j) {
    const K* k = key(j);
    float score = 0;
#pragma unroll
    for (int i = 0; i < kMaxPerLane; ++i) {
      const int d = lane + 32 * i;
      if (d < head_dim) score += query[i] * to_f32(k[d]);
    }
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) score += __shfl_xor_sync(0xffffffffu, score, offset);
    const float new_max = fmaxf(max, score);
    const float keep = expf(max - new_max);
    const float weight = expf(score - new_max);
    max = new_max;
    total = total * keep + weight;
    const K* v = value(j);
#pragma unroll
    for (int i = 0; i < kMaxPerLane; ++i) {
      const int d = lane + 32 * i;
      if (d < head_dim) sums[i] = sums[i] * keep + weight * to_f32(v[d]);
    }
  }
#pragma unroll
  for (int i = 0; i < kMaxPerLane; ++i) {
    const int d = lane + 32 * i;
    if (d < head_dim) put(&out[d], visible > 0 ? sums[i] / total : 0.0f);
  }
}

// The sequence that token t belongs to.
__device__ int32_t sequence_of(int32_t t, const int32_t* cu_seqlens, int32_t count) {
  int32_t low = 0;
  int32_t high = count - 1;
  while (low < high) {
    const int32_t middle = (low + high + 1) / 2;
    if (cu_seqlens[middle] <= t) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

struct PagedParams {
  const int32_t* tokens;
  const int32_t* seqs;
  const int32_t* cu_seqlens;
  const int32_t* context_lens;
  const int32_t* block_table;
  int32_t max_blocks, num_heads;
  float scale;
  int64_t q_stride, out_stride;
};

template <typename K, typename Q, typename Out>
__global__ void paged_any_kernel(PagedParams p, const Q* q, Out* out, KvLayer kv) {
  const auto t = static_cast<int32_t>(blockIdx.x);
  const auto head = static_cast<int32_t>(blockIdx.y * kWarps + threadIdx.x / 32);
  if (t >= *p.tokens || head >= p.num_heads) return;
  const int32_t s = sequence_of(t, p.cu_seqlens, *p.seqs);
  const int32_t visible = max(0, p.context_lens[s] - (p.cu_seqlens[s + 1] - 1 - t));
  const int32_t* blocks = p.block_table + int64_t{s} * p.max_blocks;
  const int32_t kv_head = head / (p.num_heads / kv.num_kv_heads);
  const auto offset = [&](int32_t j) {
    return kv.offset(int64_t{blocks[j / kKvBlockSize]} * kKvBlockSize + j % kKvBlockSize, kv_head);
  };
  attend<K>(
      q + t * p.q_stride + int64_t{head} * kv.head_dim, kv.head_dim, p.scale, visible,
      [&](int32_t j) { return static_cast<const K*>(kv.k) + offset(j); },
      [&](int32_t j) { return static_cast<const K*>(kv.v) + offset(j); },
      out + t * p.out_stride + int64_t{head} * kv.head_dim);
}

template <typename T, typename Out>
__global__ void varlen_any_kernel(const int32_t* tokens, const int32_t* segments, const int32_t* cu_seqlens,
                                  int32_t num_heads, int32_t head_dim, float scale, const T* qkv, int64_t stride,
                                  Out* out, int64_t out_stride) {
  const auto t = static_cast<int32_t>(blockIdx.x);
  const auto head = static_cast<int32_t>(blockIdx.y * kWarps + threadIdx.x / 32);
  if (t >= *tokens || head >= num_heads) return;
  const int32_t s = sequence_of(t, cu_seqlens, *segments);
  const int32_t first = cu_seqlens[s];
  const int64_t width = int64_t{num_heads} * head_dim;
  const int64_t at = int64_t{head} * head_dim;
  attend<T>(
      qkv + t * stride + at, head_dim, scale, cu_seqlens[s + 1] - first,
      [&](int32_t j) { return qkv + (first + j) * stride + width + at; },
      [&](int32_t j) { return qkv + (first + j) * stride + 2 * width + at; }, out + t * out_stride + at);
}

int attribute(cudaDeviceAttr which) {
  int device = 0;
  int value = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, which, device));
  return value;
}

AttentionLaunch launch_on(CudaStream& stream, size_t workspace_bytes) {
  return {.stream = stream.handle(),
          .sm_count = attribute(cudaDevAttrMultiProcessorCount),
          .compute_capability =
              attribute(cudaDevAttrComputeCapabilityMajor) * 10 + attribute(cudaDevAttrComputeCapabilityMinor),
          .pdl = true,
          .workspace = stream.workspace<std::byte>(workspace_bytes),
          .counters = stream.counters()};
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args, CudaStream& stream) {
  if (args.tokens.capacity == 0) return;
  const KvLayer kv = kv_layer(*args.kv, args.layer);
  if (fast_attention_paged(args, kv, launch_on(stream, attention_paged_workspace(args)))) {
    return finish_f8(args.out, args.tokens, stream);
  }
  const PagedParams params{.tokens = args.tokens.count,
                           .seqs = args.seqs.count,
                           .cu_seqlens = args.cu_seqlens,
                           .context_lens = args.context_lens,
                           .block_table = args.block_table,
                           .max_blocks = args.max_blocks,
                           .num_heads = args.num_heads,
                           .scale = args.scale,
                           .q_stride = args.q.stride,
                           .out_stride = args.out.values.stride};
  const dim3 grid(static_cast<unsigned>(args.tokens.capacity), static_cast<unsigned>(ceil_div(args.num_heads, kWarps)));
  with_type(kv.dtype, [&](auto* stored) {
    with_type(args.q.dtype, [&](auto* in) {
      with_type(args.out.values.dtype, [&](auto* to) {
        using K = std::remove_pointer_t<decltype(stored)>;
        using Q = std::remove_pointer_t<decltype(in)>;
        using Out = std::remove_pointer_t<decltype(to)>;
        paged_any_kernel<K><<<grid, kWarps * 32, 0, stream.handle()>>>(params, static_cast<const Q*>(args.q.data),
                                                                       static_cast<Out*>(args.out.values.data), kv);
      });
    });
  });
  check_launch();
  finish_f8(args.out, args.tokens, stream);
}

void attention_varlen(const AttentionVarlenArgs& args, CudaStream& stream) {
  if (args.tokens.capacity == 0) return;
  CHECK(args.out.scales == nullptr);  // a slice has not the whole of a row
  if (fast_attention_varlen(args, launch_on(stream, 0))) return;
  const dim3 grid(static_cast<unsigned>(args.tokens.capacity), static_cast<unsigned>(ceil_div(args.num_heads, kWarps)));
  with_type(args.qkv.dtype, [&](auto* in) {
    with_type(args.out.values.dtype, [&](auto* to) {
      using T = std::remove_pointer_t<decltype(in)>;
      using Out = std::remove_pointer_t<decltype(to)>;
      varlen_any_kernel<<<grid, kWarps * 32, 0, stream.handle()>>>(
          args.tokens.count, args.segments.count, args.cu_seqlens, args.num_heads, args.head_dim, args.scale,
          static_cast<const T*>(args.qkv.data), args.qkv.stride, static_cast<Out*>(args.out.values.data),
          args.out.values.stride);
    });
  });
  check_launch();
}

size_t attention_paged_workspace(const AttentionPagedArgs& args) {
  return fast_attention_paged_workspace(args, kv_layer(*args.kv, args.layer),
                                        attribute(cudaDevAttrMultiProcessorCount));
}

size_t attention_varlen_workspace(const AttentionVarlenArgs&) {
  return 0;
}

}  // namespace glimpse::cuda
