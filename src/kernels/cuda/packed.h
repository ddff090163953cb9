#pragma once

// Linear layers in device memory: [rows, cols] row-major in the weight's format (int4: i4_layout.h), scales of fp8 rows
// and a float32 bias.

#include <functional>

#include <memory>

#include "kernels/backend.h"
#include "kernels/cuda/matmul.h"

namespace glimpse::cuda {

// Where a layer's weights lie, for whoever runs before it; and which layer came after it last time. Expires with it.
struct WeightPlace {
  const void* data = nullptr;
  int64_t row_bytes = 0;  // as in MatmulNext
  int32_t chunks = 1;
  int32_t rows = 0;
  bool gate_up = false;
  std::weak_ptr<WeightPlace> next;
};

class CudaLinear final : public PackedLinear {
 public:
  // Activations stay in the model's own float type, also beside quantised weights (fp8 of
  // more than 16 rows: f8_rows.h).
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

  const std::shared_ptr<WeightPlace> place = std::make_shared<WeightPlace>();
  Buffer weights;
  Buffer scales;  // kF8: float32 [rows]
  Buffer bias_memory;
  bool zero_points = false;  // kI4
};

// As the products of matmul.h take it, without bias.
MatmulWeight matmul_weight(const CudaLinear& weight);

// What packing needs of the back end.
struct PackContext {
  std::function<Result<Buffer>(size_t bytes)> allocate;  // device memory
  std::function<void(void* device, int64_t count, size_t row_bytes, const Backend::RowWriter&)> upload;
};

// Backend::pack.
Result<std::unique_ptr<CudaLinear>> pack_linear(const LinearSpec& spec, const RowReader& read,
                                                const PackContext& context);

inline const CudaLinear& cuda_linear(const PackedLinear* weight) {
  return static_cast<const CudaLinear&>(*weight);
}

}  // namespace glimpse::cuda
