#pragma once

// The instructions of sm_90a that attention and the gated products use, one function each: barriers in shared memory,
// the tensor copy engine, warpgroup matrix products (PTX ISA 9.0, "Asynchronous Warpgroup Level Matrix Instructions").

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace glimpse::cuda {

using ptx::shared_address;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Shared memory written by this thread becomes visible to the tensor cores and the copy engine (then synchronise).
__device__ __forceinline__ void fence_shared_for_async() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// --- Barriers in shared memory (mbarrier).

__device__ __forceinline__ void barrier_init(uint64_t* barrier, uint32_t arrivals) {
  ptx::barrier_init(shared_address(barrier), arrivals);
}

// Makes the inits visible to the copy engine; then synchronise the block.
__device__ __forceinline__ void barrier_init_fence() {
  ptx::barrier_init_fence();
  fence_shared_for_async();
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  ptx::barrier_arrive(shared_address(barrier));
}

// One arrival, and the barrier also waits for `bytes` to be copied.
__device__ __forceinline__ void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  ptx::barrier_arrive_expect(shared_address(barrier), bytes);
}

// Waits until the phase with this parity is complete.
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
  ptx::barrier_wait(shared_address(barrier), parity);
}

// The same on the barrier at this place in the CTA `cta` of the cluster. Orders what the tensor cores have read, not
// ordinary reads and writes of other CTAs.
__device__ __forceinline__ void barrier_arrive_at(uint64_t* barrier, uint32_t cta) {
  asm volatile(
      "{\n"
      ".reg .b32 remote;\n"
      "mapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(cta)
      : "memory");
}

__device__ __forceinline__ uint32_t cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// Warps that copy leave registers to those that compute. compute-sanitizer's own code needs more than is left: for it
// the library is built without (GLIMPSE_CUDA_RACECHECK), which changes nothing but speed.
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
#ifndef GLIMPSE_CUDA_RACECHECK
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}
template <int kRegisters>
__device__ __forceinline__ void take_registers() {
#ifndef GLIMPSE_CUDA_RACECHECK
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
#endif
}

// --- The tensor copy engine. Coordinates count elements, fastest dimension first. What lies outside the tensor arrives
// as zeros and counts as copied.

__device__ __forceinline__ void copy_2d(void* dst, const CUtensorMap* map, uint64_t* barrier, int32_t c0, int32_t c1) {
  ptx::tensor_copy(shared_address(dst), map, c0, c1, shared_address(barrier));
}

__device__ __forceinline__ void copy_3d(void* dst, const CUtensorMap* map, uint64_t* barrier, int32_t c0, int32_t c1,
                                        int32_t c2) {
  ptx::tensor_copy(shared_address(dst), map, c0, c1, c2, shared_address(barrier));
}

// To this place in every CTA of the mask; each gets the bytes on its own barrier.
__device__ __forceinline__ void copy_2d_to(uint16_t ctas, void* dst, const CUtensorMap* map, uint64_t* barrier,
                                           int32_t c0, int32_t c1) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%3, "
      "%4}], [%2], %5;" ::"r"(shared_address(dst)),
      "l"(reinterpret_cast<uint64_t>(map)), "r"(shared_address(barrier)), "r"(c0), "r"(c1), "h"(ctas)
      : "memory");
}

// --- Shared memory as matrices of 8 x 8 pairs of bytes; lane l gives the address of row l % 8 of matrix l / 8, and
// r[i] is the lane's two elements of matrix i, in the order of a product's results.

__device__ __forceinline__ void store_matrices(uint32_t address, uint32_t r0, uint32_t r1, uint32_t r2, uint32_t r3) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(r0), "r"(r1),
               "r"(r2), "r"(r3)
               : "memory");
}
__device__ __forceinline__ void store_matrices(uint32_t address, uint32_t r0, uint32_t r1) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(r0), "r"(r1) : "memory");
}

// --- Warpgroup products.

// Shared memory operand in the 128-byte swizzle, 1,024-byte aligned: eight rows of 128 bytes, then the next eight
// `stride_bytes` later; operands wider than 64 elements along the contiguous axis go on `lead_bytes` later.
__device__ __forceinline__ uint64_t product_operand(const void* p, uint32_t lead_bytes, uint32_t stride_bytes) {
  return static_cast<uint64_t>((shared_address(p) & 0x3ffff) >> 4) | static_cast<uint64_t>(lead_bytes >> 4) << 16 |
         static_cast<uint64_t>(stride_bytes >> 4) << 32 | uint64_t{1} << 62;
}

__device__ __forceinline__ void product_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void product_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ __forceinline__ void product_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps the compiler from moving reads and writes of an accumulator across this point.
template <int kCount>
__device__ __forceinline__ void pin_registers(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}

// %0 ... in groups of eight, for the instructions' register lists.
#define GLIMPSE_REGS_8(a, b, c, d, e, f, g, h) "%" #a ", %" #b ", %" #c ", %" #d ", %" #e ", %" #f ", %" #g ", %" #h
#define GLIMPSE_REGS_64                  \
  GLIMPSE_REGS_8(0, 1, 2, 3, 4, 5, 6, 7) \
  ", " GLIMPSE_REGS_8(8, 9, 10, 11, 12, 13, 14, 15) ", " GLIMPSE_REGS_8(16, 17, 18, 19, 20, 21, 22, 23) ", "     \
  GLIMPSE_REGS_8(24, 25, 26, 27, 28, 29, 30, 31) ", " GLIMPSE_REGS_8(32, 33, 34, 35, 36, 37, 38, 39) ", "        \
  GLIMPSE_REGS_8(40, 41, 42, 43, 44, 45, 46, 47) ", " GLIMPSE_REGS_8(48, 49, 50, 51, 52, 53, 54, 55) ", "        \
  GLIMPSE_REGS_8(56, 57, 58, 59, 60, 61, 62, 63)
#define GLIMPSE_REGS_88                                                                    \
  GLIMPSE_REGS_64 ", " GLIMPSE_REGS_8(64, 65, 66, 67, 68, 69, 70, 71) ", " GLIMPSE_REGS_8( \
      72, 73, 74, 75, 76, 77, 78, 79) ", " GLIMPSE_REGS_8(80, 81, 82, 83, 84, 85, 86, 87)
#define GLIMPSE_REGS_104 \
  GLIMPSE_REGS_88        \
  ", " GLIMPSE_REGS_8(88, 89, 90, 91, 92, 93, 94, 95) ", " GLIMPSE_REGS_8(96, 97, 98, 99, 100, 101, 102, 103)
#define GLIMPSE_D8(c, d, i) \
  c(d[i]), c(d[i + 1]), c(d[i + 2]), c(d[i + 3]), c(d[i + 4]), c(d[i + 5]), c(d[i + 6]), c(d[i + 7])
#define GLIMPSE_D64(c, d)                                                                                     \
  GLIMPSE_D8(c, d, 0), GLIMPSE_D8(c, d, 8), GLIMPSE_D8(c, d, 16), GLIMPSE_D8(c, d, 24), GLIMPSE_D8(c, d, 32), \
      GLIMPSE_D8(c, d, 40), GLIMPSE_D8(c, d, 48), GLIMPSE_D8(c, d, 56)
#define GLIMPSE_D88(c, d) GLIMPSE_D64(c, d), GLIMPSE_D8(c, d, 64), GLIMPSE_D8(c, d, 72), GLIMPSE_D8(c, d, 80)
#define GLIMPSE_D104(c, d) GLIMPSE_D88(c, d), GLIMPSE_D8(c, d, 88), GLIMPSE_D8(c, d, 96)

// d [64, 2 * kCount] (+)= A [64, 16] B [16, 2 * kCount], both from shared memory, both contiguous along the 16.
// Thread t of the warpgroup holds rows t / 32 * 16 + t % 32 / 4 (and + 8), columns t % 4 * 2 (and + 1) of each eight:
// d[4 j + 2 r + c] is row + 8 r, column 8 j + c.
template <bool kAdd>
__device__ __forceinline__ void product_ss(float (&d)[64], uint64_t a, uint64_t b) {
  if constexpr (kAdd) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" GLIMPSE_REGS_64 "}, %64, %65, 1, 1, 1, 0, 0;"
                 : GLIMPSE_D64("+f", d)
                 : "l"(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" GLIMPSE_REGS_64 "}, %64, %65, 0, 1, 1, 0, 0;"
                 : GLIMPSE_D64("=f", d)
                 : "l"(a), "l"(b));
  }
}

template <bool kAdd>
__device__ __forceinline__ void product_ss(float (&d)[88], uint64_t a, uint64_t b) {
  if constexpr (kAdd) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n176k16.f32.bf16.bf16 {" GLIMPSE_REGS_88 "}, %88, %89, 1, 1, 1, 0, 0;"
                 : GLIMPSE_D88("+f", d)
                 : "l"(a), "l"(b));
  } else {
    asm volatile("wgmma.mma_async.sync.aligned.m64n176k16.f32.bf16.bf16 {" GLIMPSE_REGS_88 "}, %88, %89, 0, 1, 1, 0, 0;"
                 : GLIMPSE_D88("=f", d)
                 : "l"(a), "l"(b));
  }
}

// The same, added or not by what the kernel finds when it runs.
__device__ __forceinline__ void product_ss(float (&d)[104], uint64_t a, uint64_t b, int add) {
  asm volatile(
      "{\n.reg .pred add;\nsetp.ne.b32 add, %106, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n208k16.f32.bf16.bf16 {" GLIMPSE_REGS_104 "}, %104, %105, add, 1, 1, 0, 0;\n}"
      : GLIMPSE_D104("+f", d)
      : "l"(a), "l"(b), "r"(add));
}

// d [64, 128] += A [64, 16] B [16, 128]: A from registers, in the order of d (a[0..3] of eight columns' pairs), B from
// shared memory, contiguous along the 128.
__device__ __forceinline__ void product_rs(float (&d)[64], uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                                           uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" GLIMPSE_REGS_64
               "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
               : GLIMPSE_D64("+f", d)
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}

#endif  // __CUDA_ARCH_FEAT_SM90_ALL

}  // namespace glimpse::cuda
