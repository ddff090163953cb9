#pragma once

// Antialiased bicubic resize of RGB bytes, byte for byte that of torchvision (uint8 on the CPU) or of Pillow:
// width first, then height (Pillow 13: height first when it shrinks much more), the intermediate rounded to bytes, an
// axis that keeps its length skipped.

#include <string_view>

#include "base/result.h"
#include "image/options.h"
#include "image/parallel.h"
#include "image/resample_axis.h"
#include "image/rgb_image.h"
#include "image/smart_resize.h"

namespace glimpse {

// All give the same bytes; kScalar is the reference of the other two.
enum class ResizeIsa { kScalar, kAvx2, kAvx512 };

std::string_view resize_isa_name(ResizeIsa isa);
bool is_available(ResizeIsa isa);
// The fastest one that this processor has.
ResizeIsa best_resize_isa();

// Kept between pictures: tables (reused when the sizes repeat) and the half-resized picture.
struct ResizeScratch {
  ResampleAxis horizontal;
  ResampleAxis vertical;
  RgbImage middle;
};

// Whether the height is taken first.
bool goes_down_first(const ImageSize& from, const ImageSize& to, Resampler resampler);

// Resizes `in` into `out`, another image, whose buffer is reused. Sizes must be positive and `isa` available (CHECK).
// Cost: about 2 x in.height x out.width x 3 x taps byte products along x and out.height x out.width x 3 x taps along y,
// taps = 4 x max(scale, 1). Errors: kResource.
Status resize(const RgbImage& in, int out_width, int out_height, Resampler resampler, ResizeScratch& scratch,
              RgbImage& out, const ParallelFor& parallel = {}, ResizeIsa isa = best_resize_isa());

}  // namespace glimpse
