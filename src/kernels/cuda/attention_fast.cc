#include "kernels/cuda/attention_fast.h"

#include "kernels/cuda/attention_kernels.h"

namespace glimpse::cuda {

namespace {

// Sequences with at most this many queries go to the decode kernel: it splits their context over the card, and reads it
// once for every 16 query rows, mostly from L2.
constexpr int32_t kFewQueries = 32;

AttentionProblem paged_problem(const AttentionPagedArgs& args, const KvLayer& kv) {
  return {.paged = true,
          .num_seqs = args.seqs.count,
          .seqs_capacity = args.seqs.capacity,
          .tokens_capacity = args.tokens.capacity,
          .cu_seqlens = args.cu_seqlens,
          .context_lens = args.context_lens,
          .block_table = args.block_table,
          .max_blocks = args.max_blocks,
          .num_heads = args.num_heads,
          .num_kv_heads = kv.num_kv_heads,
          .head_dim = kv.head_dim,
          .scale = args.scale,
          .dtype = kv.dtype,
          .q_dtype = args.q.dtype,
          .out_dtype = args.out.values.dtype,
          .q = args.q.data,
          .q_stride = args.q.stride,
          .k = kv.k,
          .v = kv.v,
          .num_blocks = kv.num_blocks,
          .out = args.out.values.data,
          .out_stride = args.out.values.stride};
}

bool float_output(const AttentionProblem& problem) {
  return problem.out_dtype == DType::kBF16 || problem.out_dtype == DType::kF32;
}

}  // namespace

bool fast_attention_varlen(const AttentionVarlenArgs& args, const AttentionLaunch& launch) {
  const int64_t width = int64_t{args.num_heads} * args.head_dim;
  const auto* rows = static_cast<const std::byte*>(args.qkv.data);
  const int64_t part = width * static_cast<int64_t>(dtype_bytes(args.qkv.dtype));
  const AttentionProblem problem{.num_seqs = args.segments.count,
                                 .seqs_capacity = args.segments.capacity,
                                 .tokens_capacity = args.tokens.capacity,
                                 .cu_seqlens = args.cu_seqlens,
                                 .num_heads = args.num_heads,
                                 .num_kv_heads = args.num_heads,
                                 .head_dim = args.head_dim,
                                 .scale = args.scale,
                                 .dtype = args.qkv.dtype,
                                 .q_dtype = args.qkv.dtype,
                                 .out_dtype = args.out.values.dtype,
                                 .q = rows,
                                 .q_stride = args.qkv.stride,
                                 .k = rows + part,
                                 .v = rows + 2 * part,
                                 .kv_stride = args.qkv.stride,
                                 .out = args.out.values.data,
                                 .out_stride = args.out.values.stride};
  if (!float_output(problem)) return false;
  if (wgmma_can(problem, launch.compute_capability)) {
    attention_wgmma(problem, launch);
  } else if (mma_can(problem)) {
    attention_mma(problem, launch);
  } else {
    return false;
  }
  return true;
}

bool fast_attention_paged(const AttentionPagedArgs& args, const KvLayer& kv, const AttentionLaunch& launch) {
  AttentionProblem problem = paged_problem(args, kv);
  if (!float_output(problem)) return false;
  const bool wgmma = wgmma_can(problem, launch.compute_capability);
  const bool mma = mma_can(problem);
  if (decode_can(problem)) {
    const bool single = args.seqs.capacity == 1;  // then the capacity says which kernel it is
    const bool alone = args.tokens.capacity <= (single ? kFewQueries : args.seqs.capacity) || !(wgmma || mma);
    problem.max_queries = alone ? INT32_MAX : kFewQueries;
    if (alone || !single) attention_decode(problem, launch);
    if (alone) return true;
    problem.min_queries = single ? 0 : kFewQueries + 1;
    problem.max_queries = INT32_MAX;
  }
  if (wgmma) {
    attention_wgmma(problem, launch);
  } else if (mma) {
    attention_mma(problem, launch);
  }
  return wgmma || mma;
}

size_t fast_attention_paged_workspace(const AttentionPagedArgs& args, const KvLayer& kv, int sm_count) {
  const AttentionProblem problem = paged_problem(args, kv);
  return decode_can(problem) ? decode_workspace(problem, sm_count) : 0;
}

size_t fast_attention_counters(int sm_count) {
  return decode_counters(sm_count);
}

}  // namespace glimpse::cuda
