#pragma once

// y[m, rows] = x[m, cols] W^T in float32 sums (fp8 of many rows: the tensor cores' own, docs/numerics.md): own kernels
// for few rows (matmul.h), cuBLASLt for many where alignment allows, a plain kernel elsewhere.

#include <cublasLt.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "kernels/cuda/matmul.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/stream.h"
#include "kernels/ops.h"
#include "tensor/tensor.h"

namespace glimpse::cuda {

// Workspaces of several parts: each begins where a vector load may.
constexpr size_t workspace_part(size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

// Products of more rows than these wait in bfloat16 for what a second kernel does with them, as the reference
// implementation keeps them: half of what is then the larger part of the traffic.
inline constexpr int64_t kFloatRows = 64;

// One per back end, used by all its streams.
class Products {
 public:
  Products();
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // y is float32 or bfloat16; x is what holds_f8(x, m) says (f8_rows.h). All `m` rows are computed, also those that are
  // padding: they get what their x gives.
  // The first use of a shape outside of a capture tries several algorithms on the stream and keeps the fastest.
  // `scratch`: scratch_bytes() of device memory.
  void run(const CudaLinear& weight, const Activation& x, int64_t m, const Matrix& y, CudaStream& stream,
           std::byte* scratch = nullptr);

  // Backend::row_classes.
  static std::vector<int32_t> row_classes(int32_t most);

  // What run() and run_fused() need besides for products of up to m rows: fp8 activations and their scales.
  static size_t scratch_bytes(const PackedLinear& weight, int64_t m);

  // The same with what belongs to the weight in one kernel: its bias, and silu(g) * u for LinearConsumer::kGateUp (then
  // y has rows / 2 columns). Rows behind the count are not written. False, and nothing was enqueued, where no kernel
  // does that.
  bool run_fused(const CudaLinear& weight, const Activation& x, const Rows& rows, const Matrix& y, CudaStream& stream,
                 std::byte* scratch = nullptr);

 private:
  struct Key {
    int64_t n, k, m_bucket, x_stride, y_stride;
    DType out;
    bool f8;
    auto operator<=>(const Key&) const = default;
  };
  struct Choice {
    cublasLtMatmulAlgo_t algo{};
    bool tuned = false;
  };

  // False where cuBLASLt has nothing for this.
  bool run_blas(const MatmulWeight& weight, const MatmulOperands& operands, CudaStream& stream);
  std::map<Key, Choice>::iterator neighbour(const Key& key);
  // What will be read after `weight`, if the product behind it is the one that was behind it last time.
  MatmulNext foresee(const CudaLinear& weight, CudaStream& stream);
  bool run_own(const MatmulWeight& weight, const MatmulOperands& operands, CudaStream& stream);

  MatmulDevice device_;
  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, Choice> choices_;
};

// The plain kernel: float32 or bfloat16 in and out, any shape and alignment.
void product_any(const CudaLinear& weight, const Matrix& x, int64_t m, const Matrix& y, cudaStream_t stream);

}  // namespace glimpse::cuda
