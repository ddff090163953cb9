#pragma once

// The two passes of the resize, once per instruction set (private to this folder).

#include <cstddef>
#include <cstdint>

#include "image/resample_axis.h"

namespace glimpse {

// src and dst point at row 0 and hold packed RGB bytes with the given distance between rows. Vector versions read up to
// RgbImage::kTailBytes past the last byte of src, and write nothing outside of dst.
struct PassArgs {
  const ResampleAxis& axis;
  const uint8_t* src;
  ptrdiff_t src_stride;
  uint8_t* dst;
  ptrdiff_t dst_stride;
};

// Filters rows [begin, end) along x: axis.in pixels become axis.out.
using HorizontalPass = void (*)(const PassArgs& args, int begin, int end);

// Makes output rows [begin, end), each `row_bytes` long, out of the axis.in source rows.
using VerticalPass = void (*)(const PassArgs& args, int row_bytes, int begin, int end);

void horizontal_scalar(const PassArgs& args, int begin, int end);
void vertical_scalar(const PassArgs& args, int row_bytes, int begin, int end);
void horizontal_avx2(const PassArgs& args, int begin, int end);
void vertical_avx2(const PassArgs& args, int row_bytes, int begin, int end);
void horizontal_avx512(const PassArgs& args, int begin, int end);
void vertical_avx512(const PassArgs& args, int row_bytes, int begin, int end);

}  // namespace glimpse
