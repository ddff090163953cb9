#pragma once

// Vector work on one row, in each instruction set; the ops built from it choose rows and threads.

#include <cstdint>

#include "kernels/backend.h"
#include "tensor/dtype.h"
#include "tensor/tensor.h"

namespace glimpse::cpu {

struct RowKernels {
  // dst = src as float32; src is kF32, kBF16 or kF16.
  void (*widen)(const void* src, DType dtype, int64_t count, float* dst);
  void (*narrow)(const float* src, int64_t count, bf16* dst);
  // Sums in float32 lanes: sum x, sum (x - centre)^2.
  float (*sum)(const float* x, int64_t count);
  float (*sum_squares)(const float* x, int64_t count, float centre);
  // x += branch * scale * weight (weight null: 1); returns the sum of the new x^2.
  float (*accumulate)(float* x, const float* branch, float scale, const float* weight, int64_t count);
  // y = x * scale * weight. y may be x.
  void (*scale)(const float* x, float scale, const float* weight, int64_t count, float* y);
  // y = gelu((x - mean) * scale * weight + bias)
  void (*norm_gelu)(const float* x, float mean, float scale, const float* weight, const float* bias, int64_t count,
                    float* y);
  // Pairs (2i, 2i + 1), or (i, i + pairs), of a head are rotated by the angles' cos and sin.
  void (*rotate_interleaved)(float* head, const float* cos, const float* sin, int32_t pairs);
  void (*rotate_half_split)(float* head, const float* cos, const float* sin, int32_t pairs);
  // cos and sin of angles below 1e6 in magnitude, to 2 ulp of 1.
  void (*cos_sin)(const float* angles, int64_t count, float* cos, float* sin);
  // y[c] += sum_i weights[4 + i] * sum_j weights[j] * rows[4 i + j][c], i and j below 4.
  void (*add_bicubic)(const float* const* rows, const float* weights, int64_t count, float* y);
};

const RowKernels& row_kernels_avx2();
const RowKernels& row_kernels_avx512();

inline const RowKernels& row_kernels(CpuIsa isa) {
  return isa == CpuIsa::kAvx2 ? row_kernels_avx2() : row_kernels_avx512();
}

}  // namespace glimpse::cpu
