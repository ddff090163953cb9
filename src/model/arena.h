#pragma once

// Buffers of a model's activations, made once at start.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/backend.h"

namespace glimpse {

// Owns device buffers and hands out views of them. Errors of all functions: kResource.
class Arena {
 public:
  explicit Arena(Backend& backend) : backend_(&backend) {}

  Result<Matrix> matrix(int64_t rows, int64_t cols, DType dtype) {
    ASSIGN_OR_RETURN(void* data, bytes(static_cast<size_t>(rows * cols) * dtype_bytes(dtype)));
    return Matrix{data, dtype, rows, cols, cols};
  }

  // In the format that products with `consumer` read.
  Result<Activation> activation(int64_t rows, int64_t cols, const PackedLinear& consumer) {
    Activation activation;
    ASSIGN_OR_RETURN(activation.values, matrix(rows, cols, consumer.input_dtype()));
    if (consumer.input_dtype() == DType::kI8) {
      activation.group = consumer.group;
      const size_t count = static_cast<size_t>(rows * activation.num_groups());
      ASSIGN_OR_RETURN(activation.scales, array<float>(count));
      ASSIGN_OR_RETURN(activation.sums, array<int32_t>(count));
    }
    return activation;
  }

  // The same for buffers whose writer and reader are always given the same row capacity. Beside fp8 weights (`f8`: all
  // that read it) they are bfloat16 with one scale a row, group = cols: then the back end may keep e4m3 in that memory
  // instead, which of the two at which capacity is its own matter.
  Result<Activation> step_activation(int64_t rows, int64_t cols, const PackedLinear& consumer, bool f8) {
    ASSIGN_OR_RETURN(Activation made, activation(rows, cols, consumer));
    if (f8 && made.values.dtype == DType::kBF16) {
      made.group = static_cast<int32_t>(cols);
      ASSIGN_OR_RETURN(made.scales, array<float>(static_cast<size_t>(rows)));
    }
    return made;
  }

  template <typename T>
  Result<T*> array(size_t count) {
    ASSIGN_OR_RETURN(void* data, bytes(count * sizeof(T)));
    return static_cast<T*>(data);
  }

  // An array with these values, copied through `stream` (waits for it).
  template <typename T>
  Result<const T*> constant(std::span<const T> values, Stream& stream) {
    ASSIGN_OR_RETURN(T * data, array<T>(values.size()));
    stream.copy(data, values.data(), values.size_bytes());
    stream.synchronize();
    return static_cast<const T*>(data);
  }

  size_t total_bytes() const { return total_bytes_; }

 private:
  Result<void*> bytes(size_t count) {
    ASSIGN_OR_RETURN(Buffer buffer, backend_->allocate(count, MemoryKind::kDevice));
    total_bytes_ += count;
    buffers_.push_back(std::move(buffer));
    return buffers_.back().data();
  }

  Backend* backend_;
  std::vector<Buffer> buffers_;
  size_t total_bytes_ = 0;
};

// An activation without scales over a matrix: what ops write when the reader is not a quantised product.
inline Activation plain(const Matrix& matrix) {
  return {.values = matrix};
}

}  // namespace glimpse
