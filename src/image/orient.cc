#include "image/orient.h"

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace glimpse {

namespace {

// Where output pixel (0, 0) lies in the source, and how far a step along x and along y moves there, in bytes.
struct Walk {
  ptrdiff_t start;
  ptrdiff_t step_x;
  ptrdiff_t step_y;
};

Walk walk_of(const RgbImage& stored, int orientation) {
  const auto row = static_cast<ptrdiff_t>(stored.stride());
  const ptrdiff_t last_column = row - 3;
  const ptrdiff_t last_row = row * (stored.height() - 1);
  switch (orientation) {
    case 2:
      return {last_column, -3, row};  // mirrored left to right
    case 3:
      return {last_row + last_column, -3, -row};  // turned by 180 degrees
    case 4:
      return {last_row, 3, -row};  // mirrored top to bottom
    case 5:
      return {0, row, 3};  // transposed
    case 6:
      return {last_row, -row, 3};  // to be turned clockwise
    case 7:
      return {last_row + last_column, -row, -3};  // transposed along the other diagonal
    case 8:
      return {last_column, row, -3};  // to be turned counter-clockwise
    default:
      return {0, 3, row};
  }
}

}  // namespace

Status turn_upright(const RgbImage& stored, int orientation, RgbImage& out) {
  CHECK(&stored != &out);
  const bool swaps_axes = orientation >= 5;
  const int width = swaps_axes ? stored.height() : stored.width();
  const int height = swaps_axes ? stored.width() : stored.height();
  RETURN_IF_ERROR(out.reset(width, height));
  const Walk walk = walk_of(stored, orientation);
  // Square tiles, so that a walk down the source's columns stays in the cache.
  constexpr int kTile = 32;
  for (int y0 = 0; y0 < height; y0 += kTile) {
    for (int x0 = 0; x0 < width; x0 += kTile) {
      const int x1 = std::min(x0 + kTile, width);
      for (int y = y0; y < std::min(y0 + kTile, height); ++y) {
        const uint8_t* from = stored.data() + walk.start + walk.step_y * y + walk.step_x * x0;
        uint8_t* to = out.row(y) + static_cast<ptrdiff_t>(x0) * 3;
        for (int x = x0; x < x1; ++x, from += walk.step_x, to += 3) {
          to[0] = from[0];
          to[1] = from[1];
          to[2] = from[2];
        }
      }
    }
  }
  return {};
}

}  // namespace glimpse
