#pragma once

// Turning stored rows upright (private to this folder).

#include "image/rgb_image.h"

namespace glimpse {

// Writes `stored` turned as EXIF orientation 1..8 demands (PIL.ImageOps.exif_transpose) into `out`, another image.
Status turn_upright(const RgbImage& stored, int orientation, RgbImage& out);

}  // namespace glimpse
