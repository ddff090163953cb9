#include "kernels/cuda/products.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "kernels/cuda/error.h"

namespace glimpse::cuda {

namespace {

void check_blas(cublasStatus_t status) {
  CHECK(status == CUBLAS_STATUS_SUCCESS, static_cast<int>(status));
}

cudaDataType_t data_type(DType dtype) {
  return dtype == DType::kBF16 ? CUDA_R_16BF : CUDA_R_32F;
}

// Row counts that share a choice of algorithm: few classes, finer where products are small.
int64_t bucket_of(int64_t m) {
  if (m <= 16) return (m + 7) / 8 * 8;
  if (m <= 128) return (m + 15) / 16 * 16;
  if (m <= 1024) return (m + 127) / 128 * 128;
  if (m <= 4096) return (m + 511) / 512 * 512;
  return (m + 2047) / 2048 * 2048;
}

bool aligned(const Matrix& m) {
  return reinterpret_cast<uintptr_t>(m.data) % 16 == 0 &&
         m.stride * static_cast<int64_t>(dtype_bytes(m.dtype)) % 16 == 0;
}

// One product as cuBLASLt sees it: column-major, y^T [n, m] = W [n, k] x^T [k, m]. Lives on the stack.
struct Problem {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t a, b, d;

  Problem(int64_t n, int64_t k, int64_t m, int64_t x_stride, int64_t y_stride, DType out) {
    check_blas(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    check_blas(cublasLtMatmulDescSetAttribute(&operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    check_blas(cublasLtMatrixLayoutInit(&a, CUDA_R_16BF, static_cast<uint64_t>(k), static_cast<uint64_t>(n), k));
    check_blas(cublasLtMatrixLayoutInit(&b, CUDA_R_16BF, static_cast<uint64_t>(k), static_cast<uint64_t>(m), x_stride));
    check_blas(
        cublasLtMatrixLayoutInit(&d, data_type(out), static_cast<uint64_t>(n), static_cast<uint64_t>(m), y_stride));
  }

  std::vector<cublasLtMatmulHeuristicResult_t> algorithms(cublasLtHandle_t handle, int wanted) const {
    cublasLtMatmulPreferenceOpaque_t preference;
    check_blas(cublasLtMatmulPreferenceInit(&preference));
    check_blas(cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                    &kBlasWorkspace, sizeof kBlasWorkspace));
    std::vector<cublasLtMatmulHeuristicResult_t> results(static_cast<size_t>(wanted));
    int found = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle, const_cast<cublasLtMatmulDescOpaque_t*>(&operation), const_cast<cublasLtMatrixLayoutOpaque_t*>(&a),
        const_cast<cublasLtMatrixLayoutOpaque_t*>(&b), const_cast<cublasLtMatrixLayoutOpaque_t*>(&d),
        const_cast<cublasLtMatrixLayoutOpaque_t*>(&d), &preference, wanted, results.data(), &found);
    CHECK(status == CUBLAS_STATUS_SUCCESS && found > 0, static_cast<int>(status), found);
    results.resize(static_cast<size_t>(found));
    return results;
  }

  cublasStatus_t run(cublasLtHandle_t handle, const void* w, const void* x, void* y, const cublasLtMatmulAlgo_t& algo,
                     const CudaStream& stream) {
    const float one = 1;
    const float zero = 0;
    return cublasLtMatmul(handle, &operation, &one, w, &a, x, &b, &zero, y, &d, y, &d, &algo, stream.blas_workspace(),
                          kBlasWorkspace, stream.handle());
  }
};

// The fastest of the heuristic's candidates, by the best of a few runs each on the real operands: the result they leave
// is the result.
cublasLtMatmulAlgo_t fastest(Problem& problem, cublasLtHandle_t handle, const void* w, const void* x, void* y,
                             const std::vector<cublasLtMatmulHeuristicResult_t>& candidates, const CudaStream& stream) {
  cudaEvent_t begin = nullptr;
  cudaEvent_t end = nullptr;
  CUDA_CHECK(cudaEventCreate(&begin));
  CUDA_CHECK(cudaEventCreate(&end));
  float best_time = 1e30f;
  cublasLtMatmulAlgo_t best = candidates.front().algo;
  for (const auto& candidate : candidates) {
    if (problem.run(handle, w, x, y, candidate.algo, stream) != CUBLAS_STATUS_SUCCESS) continue;  // warms up
    for (int i = 0; i < 3; ++i) {
      CUDA_CHECK(cudaEventRecord(begin, stream.handle()));
      check_blas(problem.run(handle, w, x, y, candidate.algo, stream));
      CUDA_CHECK(cudaEventRecord(end, stream.handle()));
      CUDA_CHECK(cudaEventSynchronize(end));
      float time = 0;
      CUDA_CHECK(cudaEventElapsedTime(&time, begin, end));
      if (time < best_time) {
        best_time = time;
        best = candidate.algo;
      }
    }
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  return best;
}

MatmulWeight matmul_weight(const CudaLinear& weight) {
  return {.format = MatmulFormat::kBF16,
          .n = static_cast<int32_t>(weight.rows),
          .k = static_cast<int32_t>(weight.cols),
          .data = weight.data<std::byte>()};
}

MatmulOperands matmul_operands(const Matrix& x, int64_t m, const Matrix& y) {
  return {.x = x.data,
          .x_stride = x.stride,
          .y = y.data,
          .y_stride = y.stride,
          .y_f32 = y.dtype == DType::kF32,
          .rows = static_cast<int32_t>(m)};
}

}  // namespace

Products::Products() {
  check_blas(cublasLtCreate(&handle_));
  int device = 0;
  int major = 0;
  int minor = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&device_.num_sms, cudaDevAttrMultiProcessorCount, device));
  CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  CUDA_CHECK(cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device));
  device_.arch = major * 10 + minor;
}

Products::~Products() {
  cublasLtDestroy(handle_);
}

bool Products::run_few(const MatmulWeight& weight, const MatmulOperands& operands, CudaStream& stream) {
  if (!skinny_supports(weight, operands, device_)) return false;
  CUDA_CHECK(matmul_skinny(weight, operands, device_, stream.handle()));
  return true;
}

bool Products::run_fused(const CudaLinear& weight, const Matrix& x, const Rows& rows, const Matrix& y,
                         CudaStream& stream) {
  if (weight.format != WeightFormat::kBF16) return false;
  MatmulWeight packed = matmul_weight(weight);
  packed.bias = weight.bias();
  packed.gate_up = weight.consumer == LinearConsumer::kGateUp;
  MatmulOperands operands = matmul_operands(x, rows.capacity, y);
  operands.count = rows.count;
  return run_few(packed, operands, stream);
}

void Products::run(const CudaLinear& weight, const Matrix& x, int64_t m, const Matrix& y, CudaStream& stream) {
  if (m == 0) return;
  if (weight.format == WeightFormat::kBF16 && run_few(matmul_weight(weight), matmul_operands(x, m, y), stream)) return;
  const bool blas =
      weight.format == WeightFormat::kBF16 && weight.cols % 8 == 0 && weight.rows % 8 == 0 && aligned(x) && aligned(y);
  if (blas) {
    run_blas(weight, x, m, y, stream);
  } else {
    product_any(weight, x, m, y, stream.handle());
  }
}

void Products::run_blas(const CudaLinear& weight, const Matrix& x, int64_t m, const Matrix& y, CudaStream& stream) {
  const Key key{weight.rows, weight.cols, bucket_of(m), x.stride, y.stride, y.dtype};
  const auto* w = weight.data<std::byte>();
  Problem problem(weight.rows, weight.cols, m, x.stride, y.stride, y.dtype);
  cublasLtMatmulAlgo_t algo;
  {
    constexpr int kCandidates = 16;
    const std::lock_guard lock(mutex_);
    auto found = choices_.find(key);
    if (found == choices_.end()) {
      found = choices_.emplace(key, Choice{problem.algorithms(handle_, 1).front().algo, false}).first;
    }
    if (!found->second.tuned && !stream.capturing()) {
      found->second = {fastest(problem, handle_, w, x.data, y.data, problem.algorithms(handle_, kCandidates), stream),
                       true};
    }
    algo = found->second.algo;
  }
  if (problem.run(handle_, w, x.data, y.data, algo, stream) == CUBLAS_STATUS_SUCCESS) return;
  // The class's algorithm does not do this very row count.
  check_blas(problem.run(handle_, w, x.data, y.data, problem.algorithms(handle_, 1).front().algo, stream));
}

}  // namespace glimpse::cuda
