#pragma once

// Packing on the device: rows that were copied there become the layouts of the products (matmul.h), and activations
// become fp8. All functions enqueue on `stream`; all pointers are device memory.

#include <cuda_runtime.h>

#include <cstdint>

namespace glimpse::cuda {

// Rows [first_row, first_row + rows) of a weight of `k` columns, staged tightly.
struct StagedRows {
  const void* data = nullptr;  // [rows, k]
  bool f32 = true;             // else bf16
  int32_t first_row = 0;
  int32_t rows = 0;
  int32_t k = 0;  // a multiple of 128 for int4
  int32_t n = 0;  // rows of the whole weight
};

// To int4, symmetric, one fp16 scale per 128 columns. Of 16 scales from max|w| / 8 to 1.2 max|w| / 8 the one with the
// smallest squared error is taken. `packed` is the whole weight (i4_layout.h, without zero points).
cudaError_t pack_i4(const StagedRows& rows, void* packed, cudaStream_t stream);

// To e4m3 with scales[row] = max|w| / 448. `packed` is the whole weight, [n, k].
cudaError_t pack_f8(const StagedRows& rows, void* packed, float* scales, cudaStream_t stream);

// Integers of a published checkpoint, as they are. A staged row is k values (0..15, a byte each), k / 128 fp16 scales
// and k / 128 bytes of zero points (0..15).
struct StagedI4 {
  const uint8_t* data = nullptr;
  bool zero_points = false;  // of the packed weight; without, all have to be 8
  int32_t first_row = 0;
  int32_t rows = 0;
  int32_t k = 0;
  int32_t n = 0;  // rows of the whole weight

  static constexpr int64_t row_bytes(int64_t columns) { return columns + columns / 128 * 3; }
};
cudaError_t pack_i4_values(const StagedI4& rows, void* packed, cudaStream_t stream);

// Activations for fp8 products: q = round(x / scale), scale = max|x| / 448 per row (a row of zeros has scale 0).
//   x [rows, k] bf16, q [rows, k] e4m3, scales [rows].
struct QuantizeF8Args {
  const void* x = nullptr;
  int64_t x_stride = 0;
  void* q = nullptr;
  int64_t q_stride = 0;
  float* scales = nullptr;
  int32_t rows = 0;
  int32_t k = 0;
};
cudaError_t quantize_f8(const QuantizeF8Args& args, cudaStream_t stream);

}  // namespace glimpse::cuda
