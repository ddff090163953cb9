#pragma once

// Linear layers in device memory: [rows, cols] row-major in the weight's format, and a float32 bias.

#include "kernels/backend.h"

namespace glimpse::cuda {

class CudaLinear final : public PackedLinear {
 public:
  // Activations stay in the model's own float type, also beside quantised weights.
  DType input_dtype() const override { return format == WeightFormat::kF32 ? DType::kF32 : DType::kBF16; }
  // Of device memory: only the size may be looked at by the host.
  std::span<const std::byte> bytes() const override {
    return {static_cast<const std::byte*>(weights.data()), weights.bytes()};
  }

  template <typename T>
  const T* data() const {
    return static_cast<const T*>(weights.data());
  }
  // [rows] or null.
  const float* bias() const { return bias_memory.as<float>(); }

  Buffer weights;
  Buffer bias_memory;
};

inline const CudaLinear& cuda_linear(const PackedLinear* weight) {
  return static_cast<const CudaLinear&>(*weight);
}

}  // namespace glimpse::cuda
