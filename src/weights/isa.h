#pragma once

// One plain loop, compiled for several instruction sets and picked at run time. For files of loops that the compiler
// vectorises by itself; they are compiled with -O3 (CMakeLists.txt). Private to this folder.
//
//   struct Scale { static GLIMPSE_INLINE void run(float* x, size_t n) { for (...) x[i] *= 2; } };
//   run_best_isa<Scale>(x, n);

#define GLIMPSE_INLINE inline __attribute__((always_inline))

// g++ would use half of a 512-bit register unless told; clang knows no such attribute.
#ifdef __clang__
#define GLIMPSE_TARGET_AVX512 "avx512f,avx512bw,avx512dq,avx512vl"
#else
#define GLIMPSE_TARGET_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,prefer-vector-width=512"
#endif

namespace glimpse {

template <typename Loop, typename... Args>
__attribute__((target(GLIMPSE_TARGET_AVX512))) void run_avx512(Args... args) {
  Loop::run(args...);
}

template <typename Loop, typename... Args>
__attribute__((target("avx2"))) void run_avx2(Args... args) {
  Loop::run(args...);
}

template <typename Loop, typename... Args>
void run_best_isa(Args... args) {
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    run_avx512<Loop>(args...);
  } else if (__builtin_cpu_supports("avx2")) {
    run_avx2<Loop>(args...);
  } else {
    Loop::run(args...);
  }
}

}  // namespace glimpse
