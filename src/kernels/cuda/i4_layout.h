#pragma once

// How int4 weights lie in memory, for the packers and the kernels. W is cut into chunks of 1,024 columns (the last may
// be shorter, in whole groups of 128); a chunk of all rows comes after the other, so that neighbouring rows are one run
// of bytes: copies of single rows' 528 bytes cross a fourth more cache lines than they fill. A row of a chunk is
//   16 bytes   eight fp16 scales, one per group; those of groups that do not exist are 0
//   16 bytes   only with zero points: eight bytes (0..15), one per group, and eight unused
//   64 bytes   per group of 128 columns
// so that one copy brings values and everything that they mean. Without zero points the zero is 8.
// w = (nibble - zero) * scale.
//
// Inside a group the nibbles lie as the tensor cores take them (m16n8k16: lane 4g + t of a warp holds, of row g,
// columns 2t, 2t+1, 2t+8 and 2t+9 of each 16). The 16 bytes at 16 t are lane t's; word j of them holds its values of
// the 16-column steps 2j and 2j+1; and in a word, pair p (two neighbouring columns) has its nibbles at bits 4p and 4p +
// 16: one shift and one lop3 turn them into two bf16 halves.

#include <cstdint>

#if defined(__CUDACC__)
#define GLIMPSE_HOST_DEVICE __host__ __device__
#else
#define GLIMPSE_HOST_DEVICE
#endif

namespace glimpse::cuda::i4 {

constexpr int32_t kGroup = 128;
constexpr int32_t kGroupBytes = kGroup / 2;
constexpr int32_t kChunk = 1024;  // columns
constexpr int32_t kChunkGroups = kChunk / kGroup;

GLIMPSE_HOST_DEVICE constexpr int32_t header_bytes(bool zero_points) {
  return zero_points ? 32 : 16;
}

GLIMPSE_HOST_DEVICE constexpr int32_t chunk_bytes(bool zero_points) {
  return header_bytes(zero_points) + kChunk / 2;
}

// Of a whole row, in all chunks; `k` is a multiple of 128.
GLIMPSE_HOST_DEVICE constexpr int64_t row_bytes(int32_t k, bool zero_points) {
  return static_cast<int64_t>((k + kChunk - 1) / kChunk) * header_bytes(zero_points) + k / 2;
}

GLIMPSE_HOST_DEVICE constexpr int32_t num_chunks(int32_t k) {
  return (k + kChunk - 1) / kChunk;
}

// Bytes of one row in chunk `chunk` of `k` columns.
GLIMPSE_HOST_DEVICE constexpr int32_t piece_bytes(int32_t k, int32_t chunk, bool zero_points) {
  const int32_t left = k - chunk * kChunk;
  return header_bytes(zero_points) + (left < kChunk ? left : kChunk) / 2;
}

// Where a row's piece of a chunk begins, in a weight of `n` rows.
GLIMPSE_HOST_DEVICE constexpr int64_t piece_at(int64_t n, int32_t k, int64_t row, int32_t chunk, bool zero_points) {
  return chunk * n * chunk_bytes(zero_points) + row * piece_bytes(k, chunk, zero_points);
}

// Where a column's nibble lies inside its group: byte offset of its word, and shift.
struct Place {
  int32_t word;
  int32_t shift;
};

GLIMPSE_HOST_DEVICE constexpr Place place(int32_t column_in_group) {
  const int32_t step = column_in_group / 16;  // of 16 columns
  const int32_t in_step = column_in_group % 16;
  const int32_t lane = (in_step % 8) / 2;
  const int32_t pair = (step % 2) * 2 + in_step / 8;
  return {lane * 4 + step / 2, 4 * pair + 16 * (in_step % 2)};
}

}  // namespace glimpse::cuda::i4
