#pragma once

// Packed weights. Rows are gathered in panels of 64; a panel is one contiguous run of memory, so that a product with
// one row of x reads each panel as one stream, and is a whole number of cache lines.
//
//   f32   for each column, 64 floats
//   bf16  for each pair of columns, 64 x 2 values
//   i8    for each 4 columns, 64 x 4 bytes q + 128 (unsigned: vpdpbusd takes an unsigned and a signed operand, and the
//         offset is put right by the sums of x, see Activation::sums)
//   i4    for each group of columns, 64 float16 scales, then for each 8 columns 64 x 4 bytes: columns 0..3 in the low
//         nibbles, 4..7 in the high ones, q + 8
//
// Missing columns of the last step are stored as zero bytes and meet zeros in x. A panel of a kGateUp layer has 32 gate
// rows and the 32 up rows they go with, so that silu(gate) * up stays in one tile; rows past the end are zero.
//
// All of it: a 64-byte header, the panels, float32 row scales (i8), float32 biases, both in the panels' order of rows.

#include <memory>

#include "kernels/backend.h"
#include "kernels/cpu/matmul_kernels.h"
#include "tensor/buffer.h"

namespace glimpse::cpu {

constexpr int kStripRows = 16;  // rows that are packed at a time

class Packed final : public PackedLinear {
 public:
  std::span<const std::byte> bytes() const override { return bytes_; }

  int64_t num_panels() const;
  // Rows of a panel that reach y: 64, or 32 pairs of gate and up.
  int64_t panel_outputs() const { return consumer == LinearConsumer::kGateUp ? kPanelRows / 2 : kPanelRows; }
  int64_t num_outputs() const { return consumer == LinearConsumer::kGateUp ? rows / 2 : rows; }
  const std::byte* panel(int64_t panel) const { return panels_ + panel * panel_bytes_; }
  // Where column `col` starts in a panel; a multiple of group (i8, i4) or of 2 (bf16).
  size_t column_offset(int64_t col) const;
  const float* row_scales(int64_t panel) const { return scales_ == nullptr ? nullptr : scales_ + panel * kPanelRows; }
  const float* bias(int64_t panel) const { return bias_ == nullptr ? nullptr : bias_ + panel * kPanelRows; }
  // The row of W in lane `lane` of a panel; -1 past the end.
  int64_t row_of(int64_t panel, int64_t lane) const;

  // Sets shape and layout from the spec and returns how many bytes it takes; then bind() says where they are.
  size_t describe(const LinearSpec& spec);
  void bind(std::byte* bytes, Buffer owned);
  // The values that the packed bytes stand for, [rows, cols]. Slow: for tests and references.
  void unpack(float* dst) const;

 private:
  std::span<const std::byte> bytes_;
  Buffer owned_;  // empty when the bytes are borrowed
  size_t panel_bytes_ = 0;
  size_t total_bytes_ = 0;
  bool has_bias_ = false;
  const std::byte* panels_ = nullptr;
  const float* scales_ = nullptr;
  const float* bias_ = nullptr;
};

// Sixteen rows of a panel, the float32 values `count` x `cols` in `rows`, to lanes [lane, lane + 16) of the panel at
// `panel`; `scales` (i8) takes their scales. Rows past `count` are zero.
void pack_strip(const float* rows, int64_t count, int64_t cols, WeightFormat format, int32_t group, int64_t lane,
                std::byte* panel, float* scales);

}  // namespace glimpse::cpu
