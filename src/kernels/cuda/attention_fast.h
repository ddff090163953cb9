#pragma once

// The fast attention kernels, as plain functions over device addresses; attention.cu calls them and has a plain kernel
// for what they leave. Enqueueing allocates nothing, synchronises nothing and reads no device memory; grids depend on
// capacities alone, so a step can be captured in a graph once and replayed with other lengths. Rows beyond a count are
// neither read for their value nor written. Queries that see nothing yield zeros.
//
// Three kernels, picked from dtypes, head_dim and the device, never from what lies in device memory:
//   wgmma    sm_90, bfloat16, head_dim 128: varlen and paged prefill           attention_wgmma.cu
//   decode   sm_80 and up, bfloat16, head_dim 64 or 128: few queries, split    attention_decode.cu
//   mma      sm_80 and up, bfloat16, head_dim a multiple of 8                  attention_mma.cu
// A paged step of several sequences with more tokens than sequences runs two: `decode` takes the sequences with up to
// 32 queries, the other kernel the rest, each looking at cu_seqlens as it runs.
//
// With `pdl` a kernel is launched early (programmatic dependent launch), and each lets the next one be. They wait for
// the one before them with griddepcontrol.wait before they touch memory, with one exception: `decode` first reads
// counts, lengths, block tables, and keys and values of tokens before a sequence's queries. All of these have to be
// written in an earlier step or by a copy, not by a kernel of the same step (the keys and values of the queries' own
// tokens may be).
//
// Truth: kernels/reference/attention.cc. Tolerance: docs/numerics.md, "Attention".

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/kv_layout.h"
#include "kernels/ops.h"

namespace glimpse::cuda {

struct AttentionLaunch {
  cudaStream_t stream = nullptr;
  int sm_count = 0;
  int compute_capability = 0;  // 90 for sm_90
  bool pdl = false;
  void* workspace = nullptr;    // fast_attention_paged_workspace bytes, 16-byte aligned; any content
  int32_t* counters = nullptr;  // fast_attention_counters() of them, the stream's own, zero at first; every launch
                                // leaves them zero
};

// Output dtypes: bfloat16 or float32. Both return false, with nothing enqueued, when no kernel here takes the problem.
bool fast_attention_varlen(const AttentionVarlenArgs& args, const AttentionLaunch& launch);
// `kv` is args.layer of args.kv.
bool fast_attention_paged(const AttentionPagedArgs& args, const KvLayer& kv, const AttentionLaunch& launch);

// Scratch bytes at the capacities in `args`. fast_attention_varlen needs none.
size_t fast_attention_paged_workspace(const AttentionPagedArgs& args, const KvLayer& kv, int sm_count);

// How many int32 counters a stream that runs fast_attention_paged needs.
size_t fast_attention_counters(int sm_count);

}  // namespace glimpse::cuda
