#pragma once

// Weight products of the CUDA back end: y[t, n] = sum_k x[t, k] W[n, k] (+ bias[n]). Plain functions over device
// pointers; the caller owns all memory. Every function enqueues on `stream` and returns at once; nothing allocates,
// synchronises or looks at device data. Reference: kernels/reference/linear.cc; tolerances: docs/numerics.md,
// "CUDA products".
//
// Five kernels for one packed copy of a weight:
//   skinny   up to 16 rows of x, all formats, sm_90: streams W once, at the speed of memory (matmul_skinny.cuh,
//            matmul_skinny_i4.cu)
//   batch    17 to 128 rows, int4, sm_90: one CTA an SM makes all rows of x (matmul_batch_i4.cu)
//   wide     more rows, int4: W is widened to bf16 in registers on its way into the tensor cores (matmul_wide_i4.cu);
//            bf16 and fp8 weights lie row-major, as cuBLASLt takes them
//   gate_up  more rows, bf16, sm_90: silu(g) * u where the sums are (matmul_gate_up.cu)
//   generic  any shape, any card, any format; slow (matmul_generic.cu)

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace glimpse::cuda {

enum class MatmulFormat : uint8_t {
  kBF16,  // bf16 [N, K], row-major
  kF8,    // e4m3 [N, K], row-major, with one float scale per row; x is e4m3 with one float scale per row for many rows,
          // bf16 (without x_scales) for the skinny kernel
  kI4,    // int4 rows with one fp16 scale (and zero point) per 128 columns; layout: i4_layout.h. x is bf16
};

// A packed weight in device memory.
struct MatmulWeight {
  MatmulFormat format = MatmulFormat::kBF16;
  int32_t n = 0;                  // rows of W
  int32_t k = 0;                  // columns of W; a multiple of 128 for kI4
  const void* data = nullptr;     // 16-byte aligned
  const float* scales = nullptr;  // kF8: [n]
  bool zero_points = false;       // kI4: rows carry zero points
  const float* bias = nullptr;    // [n] or null
  bool gate_up = false;           // rows [gate | up]: y[t, f] = silu(g) * u, and y has n / 2 columns
};

// The weight of the product that will follow, for its first rows to be brought into the second-level cache while this
// one ends: between two products memory would idle.
struct MatmulNext {
  const void* data = nullptr;  // null: not known
  int64_t row_bytes = 0;       // in memory, of a row or, for kI4, of its values of a chunk
  int64_t chunk_stride = 0;    // kI4: bytes from chunk to chunk
  int32_t chunks = 1;          // whole ones
  int32_t units = 0;           // rows, or gate/up pairs
  bool gate_up = false;        // the up rows lie `units` rows behind the gate rows
  int32_t cta_bytes = 0;       // for each CTA, from its first row on
};

// What a product reads and writes. Rows of x and y are contiguous and 16-byte aligned at their beginnings.
struct MatmulOperands {
  const void* x = nullptr;          // [rows, k] bf16, or e4m3 with x_scales
  int64_t x_stride = 0;             // elements
  const float* x_scales = nullptr;  // [rows] of e4m3 x
  void* y = nullptr;                // [rows, n] (gate_up: n / 2)
  int64_t y_stride = 0;             // elements
  bool y_f32 = false;               // else bf16
  int32_t rows = 0;                 // capacity
  const int32_t* count = nullptr;   // device: rows at or beyond *count are not written; null: `rows`
  MatmulNext next;                  // a hint to matmul_skinny and matmul_batch_i4
};

// The card the kernels run on, read once by the caller.
struct MatmulDevice {
  int32_t num_sms = 0;
  int32_t arch = 0;  // 80, 89, 90
};

inline constexpr int32_t kSkinnyRows = 16;

// Whether matmul_skinny takes this product: sm_90, rows <= kSkinnyRows, k a multiple of 64 bytes of a row (32 bf16,
// 64 fp8 values; 128 for kI4), x bf16.
bool skinny_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device);

// Waits for the kernels before it only where it reads x: with programmatic dependent launch its first weight tiles are
// on their way while the kernel before it still runs, so weights, scales and bias may not be written by that kernel.
// Every kernel in the chain has to execute griddepcontrol.wait.
// Deterministic: sums have a fixed order for given n, k, rows and card.
cudaError_t matmul_skinny(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                          cudaStream_t stream);

// kI4 only, sm_90, any number of rows; k a multiple of 128, n of 16. Deterministic.
bool wide_i4_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device);
cudaError_t matmul_wide_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                           cudaStream_t stream);

// The same for at most kBatchRows rows.
inline constexpr int32_t kBatchRows = 128;
bool batch_i4_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device);
cudaError_t matmul_batch_i4(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                            cudaStream_t stream);

// Gated kBF16 only, sm_90, any number of rows; k a multiple of 8, n of 16, y bf16. Deterministic.
bool gate_up_supports(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device);
cudaError_t matmul_gate_up(const MatmulWeight& weight, const MatmulOperands& operands, const MatmulDevice& device,
                           cudaStream_t stream);

// Any shape, card and format; kI4 needs k to be a multiple of 128. One warp per output.
cudaError_t matmul_generic(const MatmulWeight& weight, const MatmulOperands& operands, cudaStream_t stream);

}  // namespace glimpse::cuda
