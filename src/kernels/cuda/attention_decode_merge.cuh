#pragma once

// Merging what warps, thread blocks and runs of the decode kernel know of the same rows (attention_decode.cu).

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/cuda/attention_decode_plan.cuh"
#include "kernels/cuda/attention_tiles.cuh"
#include "kernels/cuda/hopper.cuh"

namespace glimpse::cuda::decode {

// What a warp, a thread block or a run knows of rows of a tile: sums of values relative to max, max and sum of weights.
// Rows are padded so that a warp's stores of eight rows meet different banks.
template <int kHeadDim>
struct Part {
  float o[kRows][kHeadDim + 8];
  float2 scale[kRows];  // max, sum
};

// Of a merged row: two columns a lane.
struct MergedRow {
  float2 o;
  float max, sum;
};

template <int kHeadDim>
struct RowOf {
  const Part<kHeadDim>* part;
  int row;
};

// Merges columns column and column + 1 of rows row_at(0) ... row_at(kCount - 1), in shared memory.
template <int kCount, typename RowAt>
__device__ __forceinline__ MergedRow merge_near(int column, const RowAt& row_at) {
  float2 scale[kCount];
  MergedRow merged{.o = make_float2(0, 0), .max = -INFINITY, .sum = 0};
#pragma unroll
  for (int p = 0; p < kCount; ++p) {
    const auto [part, row] = row_at(p);
    scale[p] = part->scale[row];
    merged.max = fmaxf(merged.max, scale[p].x);
  }
#pragma unroll
  for (int p = 0; p < kCount; ++p) {
    const auto [part, row] = row_at(p);
    const float weight = scale[p].x == -INFINITY ? 0.0f : power_of_two(scale[p].x - merged.max);
    const float2 x = *reinterpret_cast<const float2*>(&part->o[row][column]);
    merged.o.x = fmaf(weight, x.x, merged.o.x);
    merged.o.y = fmaf(weight, x.y, merged.o.y);
    merged.sum = fmaf(weight, scale[p].y, merged.sum);
  }
  return merged;
}

// Merges a row over parts in global memory, part_at(0) ... part_at(count - 1), that other thread blocks wrote (so not
// from L1). By all lanes of a warp.
template <typename PartAt>
__device__ __forceinline__ MergedRow merge_far(int count, int row, int column, const PartAt& part_at) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  MergedRow merged{.o = make_float2(0, 0), .max = -INFINITY, .sum = 0};
  for (int p = lane; p < count; p += 32) merged.max = fmaxf(merged.max, __ldcg(&part_at(p)->scale[row].x));
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    merged.max = fmaxf(merged.max, __shfl_xor_sync(0xffffffff, merged.max, step));
  }
  for (int first = 0; first < count; first += 32) {
    const int here = min(32, count - first);
    float weight = 0;
    if (lane < here) {
      const float2 scale = __ldcg(&part_at(first + lane)->scale[row]);
      weight = scale.x == -INFINITY ? 0.0f : power_of_two(scale.x - merged.max);
      merged.sum = fmaf(weight, scale.y, merged.sum);
    }
#pragma unroll 8
    for (int p = 0; p < here; ++p) {
      const float2 x = __ldcg(reinterpret_cast<const float2*>(&part_at(first + p)->o[row][column]));
      const float w = __shfl_sync(0xffffffff, weight, p);
      merged.o.x = fmaf(w, x.x, merged.o.x);
      merged.o.y = fmaf(w, x.y, merged.o.y);
    }
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) merged.sum += __shfl_xor_sync(0xffffffff, merged.sum, step);
  return merged;
}

// put_row to the inbox of another thread block of the cluster, counted by its barrier.
template <int kHeadDim>
__device__ __forceinline__ void send_row(Part<kHeadDim>& inbox, uint64_t& inbox_full, int rank, int row, int column,
                                         const MergedRow& merged) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  const auto send = [&](const void* local, float x, float y) {
    uint32_t to, barrier;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(to) : "r"(shared_address(local)), "r"(rank));
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(barrier) : "r"(shared_address(&inbox_full)), "r"(rank));
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(to), "f"(x),
                 "f"(y), "r"(barrier)
                 : "memory");
  };
  send(&inbox.o[row][column], merged.o.x, merged.o.y);
  if (column == 0) send(&inbox.scale[row], merged.max, merged.sum);
#endif
}

template <int kHeadDim>
__device__ __forceinline__ void put_row(Part<kHeadDim>& part, int row, int column, const MergedRow& merged) {
  *reinterpret_cast<float2*>(&part.o[row][column]) = merged.o;
  if (column == 0) part.scale[row] = make_float2(merged.max, merged.sum);
}

// One more of `count` has arrived; true, for all threads, in the last. The counter is then zero again.
__device__ __forceinline__ bool last_of(int& flag, uint32_t* counter, int count) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    flag = atomicInc(counter, static_cast<uint32_t>(count - 1)) == static_cast<uint32_t>(count - 1) ? 1 : 0;
  }
  __syncthreads();
  const bool last = flag != 0;
  if (last) __threadfence();
  return last;
}

// All threads of the cluster arrive, and go on when all have.
__device__ __forceinline__ void cluster_arrive() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

// The inbox's barrier: made by one thread, told by it what is to come, waited for by all.
__device__ __forceinline__ void make_inbox(uint64_t& inbox_full) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  barrier_init(&inbox_full, 1);
  barrier_init_fence();
#endif
}
__device__ __forceinline__ void expect_rows(uint64_t& inbox_full, uint32_t bytes) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  barrier_arrive_expect(&inbox_full, bytes);
#endif
}
__device__ __forceinline__ void wait_for_rows(uint64_t& inbox_full, uint32_t parity) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  barrier_wait(&inbox_full, parity);
#endif
}

}  // namespace glimpse::cuda::decode
