#pragma once

// What the driver of tall tiles (matmul_blocks.cc) calls where the processor multiplies whole tiles of 16 rows by 64
// bytes. Every element of y is summed over the columns in the same order whatever the number of rows is: sums go on in
// float32 from where the last block of columns left them in memory.

#include <cstddef>
#include <cstdint>

#include "kernels/backend.h"

namespace glimpse::cpu {

constexpr int64_t kBlockTileRows = 16;
constexpr int64_t kStepRowBytes = 64;                           // of a row of x in one step: 32 bfloat16
constexpr int64_t kStepPanelBytes = kBlockTileRows * 64 * 4;    // of a panel: 16 words of 64 rows
constexpr int64_t kTileBytes = kBlockTileRows * kStepRowBytes;  // a tile of packed rows, see pack_rows

struct BlockArgs {
  const std::byte* a = nullptr;  // of the first row and the first step
  int64_t a_row = 0;             // bytes from a row to the next in a tile,
  int64_t a_step = 0;            // from a step to the next,
  int64_t a_tile = 0;            // from 16 rows to the next 16
  int64_t tiles = 0;             // of rows; rows past the last are computed too: c has room for them
  const std::byte* b = nullptr;  // the panel, from the first step on
  int64_t steps = 0;
  float* c = nullptr;  // [16 tiles, 64] sums
  bool accumulate = false;
  const std::byte* next = nullptr;  // what is wanted after b, as many bytes: fetched meanwhile
};

// Integer products: groups of 128 columns, two steps of 64 bytes each.
constexpr int64_t kGroupColumns = 128;
constexpr int64_t kGroupPanelBytes = 2 * kStepPanelBytes;  // as signed bytes
constexpr int64_t kRowBlock = 256;                         // rows that have their scales side by side

struct IntBlockArgs {
  const std::byte* a = nullptr;     // packed rows, of the first group
  int64_t a_tile = 0;               // bytes from 16 rows to the next 16
  int64_t tiles = 0;                // of rows
  const float* a_scales = nullptr;  // [groups][kRowBlock]
  const std::byte* b = nullptr;     // the panel as unpack left it
  const float* b_scales = nullptr;  // [groups][64], or null: all 1
  int64_t groups = 0;
  float* c = nullptr;               // [16 tiles, 64] sums: c += sum * (scale of b) * scale of a, group by group
  const std::byte* next = nullptr;  // next_lines lines that are wanted soon, fetched meanwhile
  int64_t next_lines = 0;
};

struct BlockKernels {
  // Around all other calls of a thread. `rows` of a tile: 16, or fewer where there is but one tile.
  void (*begin)(int64_t rows);
  void (*end)();
  void (*multiply_bf16)(const BlockArgs& args);
  void (*multiply_int)(const IntBlockArgs& args);
  // Up to 16 rows of `bytes` bytes, `stride` apart, to `steps` tiles of 64 bytes a row; what is missing is zero.
  void (*pack_rows)(const std::byte* rows, int64_t stride, int64_t count, int64_t bytes, int64_t steps, std::byte* dst);
  // A panel's `cols` int8 or int4 columns from the start of a group on, to signed bytes, whole groups with zeros at the
  // end; and int4's scales.
  void (*unpack_i8)(const std::byte* panel, int64_t cols, std::byte* dst);
  void (*unpack_i4)(const std::byte* panel, int64_t cols, std::byte* dst, float* scales);
};

const BlockKernels& block_kernels_amx();

// Null where there are no such tiles.
inline const BlockKernels* block_kernels(CpuIsa isa) {
  return isa == CpuIsa::kAmx ? &block_kernels_amx() : nullptr;
}

}  // namespace glimpse::cpu
