#pragma once

// How int4 weights lie in memory, for the packers and the kernels: values first, then what they mean. W is cut into
// chunks of 1,024 columns (the last may be shorter, in whole groups of 128), and a chunk of all rows comes after the
// other, so that neighbouring rows of a chunk are one run of bytes. The copy engine loses a tenth of its rate on rows
// that begin between cache lines, so a row of a whole chunk is 512 bytes of nothing but values:
//   values   per chunk and row: 64 bytes per group of 128 columns
//   headers  per chunk and row: 16 bytes, eight fp16 scales, one per group; with zero points 16 more, eight bytes
//            (0..15), one per group, and eight unused. Those of groups that do not exist are 0.
// Without zero points the zero is 8. w = (nibble - zero) * scale.
//
// In rows of odd index the groups 2i and 2i + 1 have changed places (where a chunk's groups are even in number): a
// quarter-warp reads 64 bytes of two neighbouring rows at once, and so finds them in different banks.
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
constexpr int32_t kChunkBytes = kChunk / 2;  // of a row's values

GLIMPSE_HOST_DEVICE constexpr int32_t header_bytes(bool zero_points) {
  return zero_points ? 32 : 16;
}

GLIMPSE_HOST_DEVICE constexpr int32_t num_chunks(int32_t k) {
  return (k + kChunk - 1) / kChunk;
}

// Of a whole row, in all chunks; `k` is a multiple of 128.
GLIMPSE_HOST_DEVICE constexpr int64_t row_bytes(int32_t k, bool zero_points) {
  return static_cast<int64_t>(num_chunks(k)) * header_bytes(zero_points) + k / 2;
}

// Groups of chunk `chunk` of `k` columns.
GLIMPSE_HOST_DEVICE constexpr int32_t chunk_groups(int32_t k, int32_t chunk) {
  const int32_t left = k / kGroup - chunk * kChunkGroups;
  return left < kChunkGroups ? left : kChunkGroups;
}

// Where a row's values of a chunk begin, in a weight of `n` rows.
GLIMPSE_HOST_DEVICE constexpr int64_t values_at(int64_t n, int32_t k, int64_t row, int32_t chunk) {
  return chunk * n * kChunkBytes + row * (chunk_groups(k, chunk) * kGroupBytes);
}

// Where a row's header of a chunk lies.
GLIMPSE_HOST_DEVICE constexpr int64_t header_at(int64_t n, int32_t k, int64_t row, int32_t chunk, bool zero_points) {
  return n * (k / 2) + (chunk * n + row) * header_bytes(zero_points);
}

// Which 64 bytes of a row's values in a chunk of `groups` groups are those of `group`.
GLIMPSE_HOST_DEVICE constexpr int32_t slot(int64_t row, int32_t group, int32_t groups) {
  return groups % 2 == 0 ? group ^ static_cast<int32_t>(row & 1) : group;
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
