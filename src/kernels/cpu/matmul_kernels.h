#pragma once

// What the driver (matmul.cc) calls in each instruction set. One function here covers one panel of 64 weight rows (see
// pack.h) and at most kTileRows rows of x; blocking, threads and tails are the driver's.

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"
#include "tensor/dtype.h"

namespace glimpse::cpu {

constexpr int kTileRows = 6;    // 6 x 4 accumulators of 16 lanes: what 32 registers hold beside 4 weights and 1 value
constexpr int kPanelRows = 64;  // weight rows of a panel, columns of a tile of y

// Panels that a tile of a few rows of x takes at once: one stream of bytes does not fill the memory's pipe, and 32
// registers hold so many sums.
constexpr int stream_panels(int64_t rows) {
  return rows == 1 ? 4 : rows <= 3 ? 2 : 1;
}

struct TileArgs {
  const std::byte* a = nullptr;  // rows of x, a_stride bytes apart
  int64_t a_stride = 0;
  const std::byte* b = nullptr;  // the panel, from the same column on
  int64_t cols = 0;              // of x; a multiple of what one 32-bit word of a packed panel holds (int4: of 8)
  int64_t b_stride = 0;          // streams: bytes from panel to panel
  float* c = nullptr;            // [tile rows, 64] sums, without row scales and bias; streams: [panels, rows, 64]
  bool accumulate = false;       // adds to c, otherwise overwrites it
  // Int8 rows of x only.
  const float* a_scales = nullptr;  // [tile rows, groups], a_groups apart
  const int32_t* a_sums = nullptr;
  int64_t a_groups = 0;
  int32_t group = 0;
};

using TileFunction = void (*)(const TileArgs&);

enum class Finish : uint8_t { kNone, kGelu, kSiluMul };

// Rows of one panel's sums on their way to y.
struct FinishArgs {
  Finish finish = Finish::kNone;
  const float* sums = nullptr;  // [rows, 64]
  int64_t rows = 0;
  const float* scale = nullptr;  // [64] or null
  const float* bias = nullptr;   // likewise
  std::byte* dst = nullptr;      // [rows, count], float32 or bfloat16
  int64_t dst_stride = 0;        // bytes
  int64_t count = 0;             // at most 64, kSiluMul: 32; the rest is not stored
  bool bf16 = false;
};

struct MatmulKernels {
  // By rows of the tile - 1.
  TileFunction tile_f32[kTileRows];
  TileFunction tile_bf16[kTileRows];
  TileFunction tile_i8[kTileRows];
  TileFunction tile_i4[kTileRows];  // nibbles unpacked on the way

  // The same sums of stream_panels() panels, for products that wait for memory. Null where registers lack.
  TileFunction streams_bf16[kTileRows] = {};
  TileFunction streams_i8[kTileRows] = {};
  TileFunction streams_i4[kTileRows] = {};

  // dst[r, 0..64) = finish(sums[r] * scale + bias); kSiluMul: dst[r, 0..32) = silu(first half) * second half.
  void (*finish)(const FinishArgs& args);

  void (*store_bf16)(const float* x, int64_t count, glimpse::bf16* dst);
  void (*quantize_row)(const float* x, int64_t cols, int32_t group, int8_t* values, float* scales, int32_t* sums);
};

const MatmulKernels& matmul_kernels_avx2();
const MatmulKernels& matmul_kernels_avx512();
const MatmulKernels& matmul_kernels_avx512_bf16();

inline const MatmulKernels& matmul_kernels(CpuIsa isa) {
  switch (isa) {
    case CpuIsa::kAvx2:
      return matmul_kernels_avx2();
    case CpuIsa::kAvx512:
      return matmul_kernels_avx512();
    case CpuIsa::kAvx512Bf16:
    case CpuIsa::kAmx:  // and matmul_blocks.h
      return matmul_kernels_avx512_bf16();
  }
  return matmul_kernels_avx2();
}

}  // namespace glimpse::cpu
