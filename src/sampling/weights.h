#pragma once

// The two passes over a whole vocabulary that sampling is made of, written so that the compiler turns them into vector
// code for the machine they run on. Results do not depend on the machine: the order of every sum is fixed and products
// are not fused with sums (CMakeLists.txt).

#include <cstddef>
#include <cstdint>
#include <span>

namespace glimpse {

// Values are padded with minus infinity to whole blocks.
constexpr size_t kWeightBlock = 256;
constexpr size_t padded_to_block(size_t size) {
  return (size + kWeightBlock - 1) / kWeightBlock * kWeightBlock;
}

// Scaled logits below this count as impossible: e^-32 of the likeliest token, so that a vocabulary of a million of them
// weighs less than the 2^-24 that a random number resolves.
constexpr float kNegligibleLogit = -32;

// The place of the largest value, the first of equals. NaN is never the largest; 0 if all are NaN or minus infinity.
int32_t argmax(std::span<const float> values);

// values := (values - top) / temperature; weights := e^values, within 2e-7 of it, and 0 for NaN, for values below
// kNegligibleLogit and for weights below `floor`; sums[b] := the weights of block b together.
// All are of the same padded size (sums: one per block); weights may not alias values.
void weigh(std::span<float> values, float top, float temperature, float floor, std::span<float> weights,
           std::span<double> sums);

}  // namespace glimpse
