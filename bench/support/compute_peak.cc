#include "bench/support/compute_peak.h"

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/cpu/isa.h"

namespace glimpse {

namespace {

constexpr int64_t kSteps = 4'000'000;

[[gnu::target("avx2,fma")]] void fma_avx2(int64_t steps) {
  __m256 acc[12];
  for (auto& a : acc) a = _mm256_setzero_ps();
  __m256 x = _mm256_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
    // Unrolled, or the accumulators live in memory.
#pragma GCC unroll 12
    for (auto& a : acc) a = _mm256_fmadd_ps(x, x, a);
    asm volatile("" : "+x"(x));
  }
  for (auto& a : acc) asm volatile("" : "+x"(a));
}

[[gnu::target("avx2")]] void int8_avx2(int64_t steps) {
  __m256i acc[12];
  for (auto& a : acc) a = _mm256_setzero_si256();
  __m256i x = _mm256_setzero_si256();
  const __m256i one = _mm256_set1_epi16(1);
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 12
    for (auto& a : acc) {
      __m256i pairs = _mm256_maddubs_epi16(x, x);
      asm volatile("" : "+x"(pairs));  // or it is computed once for all
      a = _mm256_add_epi32(a, _mm256_madd_epi16(pairs, one));
    }
  }
  for (auto& a : acc) asm volatile("" : "+x"(a));
}

[[gnu::target("avx512f,avx512bf16")]] void dot_bf16(int64_t steps) {
  __m512 acc[24];
  for (auto& a : acc) a = _mm512_setzero_ps();
  __m512 x = _mm512_setzero_ps();
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 24
    for (auto& a : acc) a = _mm512_dpbf16_ps(a, (__m512bh)x, (__m512bh)x);
    asm volatile("" : "+v"(x));
  }
  for (auto& a : acc) asm volatile("" : "+v"(a));
}

[[gnu::target("avx512f,avx512vnni")]] void dot_int8(int64_t steps) {
  __m512i acc[24];
  for (auto& a : acc) a = _mm512_setzero_si512();
  __m512i x = _mm512_setzero_si512();
  for (int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 24
    for (auto& a : acc) a = _mm512_dpbusd_epi32(a, x, x);
    asm volatile("" : "+v"(x));
  }
  for (auto& a : acc) asm volatile("" : "+v"(a));
}

// Four sums of tiles, 16 x 16 x 64 bytes of multiply-adds each.
template <bool kInt8>
[[gnu::target("avx512f")]] void tiles(int64_t steps) {
  struct alignas(64) Config {
    uint8_t bytes[64] = {1};  // palette 1; from byte 16 on the tiles' row bytes (16 bit), from 48 on their rows
  } config;
  for (int t = 0; t < 8; ++t) {
    config.bytes[16 + 2 * t] = 64;
    config.bytes[48 + t] = 16;
  }
  asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  for (int64_t s = 0; s < steps; ++s) {
    if constexpr (kInt8) {
      asm volatile(
          "tdpbssd %tmm6, %tmm4, %tmm0\n tdpbssd %tmm7, %tmm4, %tmm1\n"
          "tdpbssd %tmm6, %tmm5, %tmm2\n tdpbssd %tmm7, %tmm5, %tmm3");
    } else {
      asm volatile(
          "tdpbf16ps %tmm6, %tmm4, %tmm0\n tdpbf16ps %tmm7, %tmm4, %tmm1\n"
          "tdpbf16ps %tmm6, %tmm5, %tmm2\n tdpbf16ps %tmm7, %tmm5, %tmm3");
    }
  }
  asm volatile("tilerelease");
}

double now(bool busy) {
  timespec time{};
  clock_gettime(busy ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// The best of a few runs: operations a second of `ops_per_step` on all threads.
double rate(int threads, bool busy, void (*loop)(int64_t), double ops_per_step) {
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double begin = now(busy);
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(loop, kSteps);
    loop(kSteps);
    for (auto& thread : others) thread.join();
    best = std::max(best, threads * ops_per_step * kSteps / (now(busy) - begin));
  }
  return best;
}

}  // namespace

ComputePeak measure_vector_peak(int threads, bool busy) {
  if (busy) threads = 1;
  if (cpu::detect_isa() >= static_cast<int>(CpuIsa::kAvx512Bf16)) {
    return {.bf16 = rate(threads, busy, dot_bf16, 24.0 * 64), .int8 = rate(threads, busy, dot_int8, 24.0 * 128)};
  }
  return {.bf16 = rate(threads, busy, fma_avx2, 12.0 * 16), .int8 = rate(threads, busy, int8_avx2, 12.0 * 64)};
}

ComputePeak measure_tile_peak(int threads, bool busy) {
  if (busy) threads = 1;
  if (cpu::detect_isa() < static_cast<int>(CpuIsa::kAmx)) return {};
  return {.bf16 = rate(threads, busy, tiles<false>, 4.0 * 16384),
          .int8 = rate(threads, busy, tiles<true>, 4.0 * 32768)};
}

ComputePeak measure_compute_peak(int threads, bool busy) {
  const ComputePeak vectors = measure_vector_peak(threads, busy);
  const ComputePeak tiles = measure_tile_peak(threads, busy);
  return {.bf16 = std::max(vectors.bf16, tiles.bf16), .int8 = std::max(vectors.int8, tiles.int8)};
}

}  // namespace glimpse
