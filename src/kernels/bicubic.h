#pragma once

// Taps of the bicubic sampling of the vision tower's position table: torch grid_sample with align_corners = false and
// padding_mode = border, in its order of float32 operations (glm-v.md 3.1).

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "tensor/host_device.h"

namespace glimpse {

struct BicubicTaps {
  int32_t index[4];
  float weight[4];
};

// Taps along one side for patch `position` of `grid` in a table of `side` cells.
GLIMPSE_HOST_DEVICE inline BicubicTaps bicubic_taps(int32_t position, int32_t grid, int32_t side) {
  constexpr float kA = -0.75f;
  const auto inner = [](float s) { return ((kA + 2) * s - (kA + 3)) * s * s + 1; };
  const auto outer = [](float s) { return ((kA * s - 5 * kA) * s + 8 * kA) * s - 4 * kA; };
  const float normal = (static_cast<float>(position) + 0.5f) / static_cast<float>(grid) * 2 - 1;
  const float at = ((normal + 1) * static_cast<float>(side) - 1) / 2;
  const float floor = std::floor(at);
  const float t = at - floor;
  BicubicTaps taps{.index = {}, .weight = {outer(t + 1), inner(t), inner(1 - t), outer(2 - t)}};
  for (int32_t i = 0; i < 4; ++i) taps.index[i] = std::clamp(static_cast<int32_t>(floor) - 1 + i, 0, side - 1);
  return taps;
}

}  // namespace glimpse
