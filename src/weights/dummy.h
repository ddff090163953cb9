#pragma once

// Random weights of given shapes, made when they are read: speed and memory of a model can be measured without its
// files, and packing it never holds more of the source than the rows being read.

#include <cstdint>
#include <string>
#include <vector>

#include "weights/source.h"

namespace glimpse {

// dtype bfloat16. An element depends on (seed, tensor name, position) alone, so any split into rows or threads gives
// the same tensor, on every machine. Values are triangular around 0 with standard deviation kStd, which keeps the
// activations of a GLM finite (every branch is normed); norm weights ("…norm….weight") are triangular around 1.
class DummySource final : public WeightSource {
 public:
  static constexpr float kStd = 0.02F;

  // Duplicate names in `specs` are our bug (CHECK), as are shapes that overflow.
  DummySource(std::vector<TensorSpec> specs, uint64_t seed);

  std::string label() const override { return "(dummy weights)"; }

 private:
  Status read(size_t index, int64_t first, std::span<float> out) const override;
  Status read(size_t index, int64_t first, std::span<bf16> out) const override;
  std::span<const std::byte> bytes(size_t) const override { return {}; }
  void drop(size_t, int64_t, int64_t) const override {}

  struct Stream {
    uint32_t key[2];
    float mean;
  };
  std::vector<Stream> streams_;  // beside tensors()
};

}  // namespace glimpse
