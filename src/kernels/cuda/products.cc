#include "kernels/cuda/products.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/f8_rows.h"
#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/pack.h"

namespace glimpse::cuda {

namespace {

void check_blas(cublasStatus_t status) {
  CHECK(status == CUBLAS_STATUS_SUCCESS, static_cast<int>(status));
}

// Above so many rows the choice hardly depends on the count.
constexpr int64_t kManyRows = 1024;

// Row counts that share a choice of algorithm lie within so many: few classes, finer where products are small.
int64_t class_width(int64_t m) {
  return m <= 16 ? 8 : m <= 128 ? 16 : m <= kManyRows ? 128 : m <= 4096 ? 512 : 2048;
}

int64_t bucket_of(int64_t m) {
  return (m + class_width(m) - 1) / class_width(m) * class_width(m);
}

bool aligned(const void* data, int64_t stride_bytes) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0 && stride_bytes % 16 == 0;
}

bool blas_takes(const MatmulWeight& weight, const MatmulOperands& o) {
  const bool f8 = weight.format == MatmulFormat::kF8;
  if (weight.format == MatmulFormat::kI4) return false;
  const int multiple = f8 ? 16 : 8;
  return weight.k % multiple == 0 && weight.n % multiple == 0 && aligned(o.x, o.x_stride * (f8 ? 1 : 2)) &&
         aligned(o.y, o.y_stride * (o.y_f32 ? 4 : 2));
}

// One product as cuBLASLt sees it: column-major, y^T [n, m] = W [n, k] x^T [k, m]. Lives on the stack.
struct Problem {
  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t a, b, d;

  Problem(const MatmulWeight& weight, const MatmulOperands& o) {
    const bool f8 = weight.format == MatmulFormat::kF8;
    const cudaDataType_t in = f8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    const auto n = static_cast<uint64_t>(weight.n);
    const auto k = static_cast<uint64_t>(weight.k);
    const auto m = static_cast<uint64_t>(o.rows);
    check_blas(cublasLtMatmulDescInit(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    const cublasOperation_t transposed = CUBLAS_OP_T;
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    if (f8) {
      const int32_t per_row = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
      set(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, per_row);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, per_row);
      set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, weight.scales);
      set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, o.x_scales);
      // Sums stay in the tensor cores, which keep fewer bits of them than float32 (docs/numerics.md): far below what
      // e4m3 itself has rounded away.
      const int8_t fast = 1;
      set(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
    }
    check_blas(cublasLtMatrixLayoutInit(&a, in, k, n, weight.k));
    check_blas(cublasLtMatrixLayoutInit(&b, in, k, m, o.x_stride));
    check_blas(cublasLtMatrixLayoutInit(&d, o.y_f32 ? CUDA_R_32F : CUDA_R_16BF, n, m, o.y_stride));
  }

  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check_blas(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value));
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
    if (status != CUBLAS_STATUS_SUCCESS) found = 0;
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

// The fastest of the heuristic's candidates: by the median of runs in turns, so that none has the card's better moments
// to itself, each with the second-level cache full of something else, as the weights of a step find it. The runs are on
// the real operands: the result they leave is the result.
cublasLtMatmulAlgo_t fastest(Problem& problem, cublasLtHandle_t handle, const void* w, const void* x, void* y,
                             std::vector<cublasLtMatmulHeuristicResult_t> candidates, const CudaStream& stream) {
  constexpr size_t kRounds = 5;
  const cublasLtMatmulAlgo_t first = candidates.front().algo;
  // Warms up as well.
  std::erase_if(candidates, [&](const cublasLtMatmulHeuristicResult_t& candidate) {
    return problem.run(handle, w, x, y, candidate.algo, stream) != CUBLAS_STATUS_SUCCESS;
  });
  std::vector<CudaEvent> begins(candidates.size() * kRounds);
  std::vector<CudaEvent> ends(begins.size());
  for (size_t round = 0; round < kRounds; ++round) {
    for (size_t i = 0; i < candidates.size(); ++i) {
      CUDA_CHECK(cudaMemsetAsync(stream.blas_workspace(), 0, kBlasWorkspace, stream.handle()));
      CUDA_CHECK(cudaEventRecord(begins[i * kRounds + round].handle(), stream.handle()));
      check_blas(problem.run(handle, w, x, y, candidates[i].algo, stream));
      CUDA_CHECK(cudaEventRecord(ends[i * kRounds + round].handle(), stream.handle()));
    }
  }
  CUDA_CHECK(cudaStreamSynchronize(stream.handle()));
  int64_t best_time = std::numeric_limits<int64_t>::max();
  cublasLtMatmulAlgo_t best = first;
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::array<int64_t, kRounds> times;
    for (size_t round = 0; round < kRounds; ++round) {
      const size_t run = i * kRounds + round;
      times[round] = ends[run].ns_since(begins[run]);
    }
    std::nth_element(times.begin(), times.begin() + kRounds / 2, times.end());
    if (times[kRounds / 2] >= best_time) continue;
    best_time = times[kRounds / 2];
    best = candidates[i].algo;
  }
  return best;
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

MatmulNext Products::foresee(const CudaLinear& weight, CudaStream& stream) {
  // Of each CTA's share: what memory delivers while a step's small kernels run between two products.
  constexpr int32_t kAheadBytes = 48 << 10;
  const std::lock_guard lock(mutex_);
  WeightPlace& place = *weight.place;
  place.data = weight.data<std::byte>();
  place.rows = static_cast<int32_t>(weight.rows);
  place.row_bytes = static_cast<int64_t>(weight.weights.bytes()) / weight.rows;
  if (weight.format == WeightFormat::kI4 && weight.cols >= i4::kChunk) {
    place.row_bytes = i4::kChunkBytes;
    place.chunks = static_cast<int32_t>(weight.cols / i4::kChunk);
  }
  place.gate_up = weight.consumer == LinearConsumer::kGateUp;
  if (const auto last = stream.last_weight.lock()) last->next = weight.place;
  stream.last_weight = weight.place;
  const auto next = place.next.lock();
  if (next == nullptr || next->row_bytes % 16 != 0) return {};
  return {.data = next->data,
          .row_bytes = next->row_bytes,
          .chunk_stride = next->row_bytes * next->rows,
          .chunks = next->chunks,
          .units = next->gate_up ? next->rows / 2 : next->rows,
          .gate_up = next->gate_up,
          .cta_bytes = kAheadBytes};
}

size_t Products::scratch_bytes(const PackedLinear& weight, int64_t m) {
  return weight.format == WeightFormat::kF8 ? static_cast<size_t>(m * (weight.cols + 31) / 16 * 16 + m * 4) : 0;
}

namespace {

// Of so many rows a product is done by a kernel that streams the weights.
int64_t few_rows(const CudaLinear& weight) {
  return weight.format == WeightFormat::kI4 ? kBatchRows : kSkinnyRows;
}

// x as the kernel for so many rows wants it: as it is, or made fp8 in `scratch`.
MatmulOperands prepare(const CudaLinear& weight, const Activation& x, int64_t m, const int32_t* count, const Matrix& y,
                       const MatmulDevice& device, const CudaStream& stream, std::byte* scratch) {
  MatmulOperands operands = matmul_operands(x.values, m, y);
  operands.count = count;
  if (holds_f8(x, m)) {
    CHECK(weight.format == WeightFormat::kF8);
    operands.x_stride = f8_stride(x);
    operands.x_scales = x.scales;
    return operands;
  }
  if (weight.format != WeightFormat::kF8 || skinny_supports(matmul_weight(weight), operands, device)) return operands;
  CHECK(scratch != nullptr, weight.rows, weight.cols, m);
  const int64_t stride = (weight.cols + 15) / 16 * 16;
  auto* scales = reinterpret_cast<float*>(scratch);
  std::byte* values = scratch + (m * 4 + 15) / 16 * 16;
  CUDA_CHECK(quantize_f8({.x = x.values.data,
                          .x_stride = x.values.stride,
                          .q = values,
                          .q_stride = stride,
                          .scales = scales,
                          .rows = static_cast<int32_t>(m),
                          .k = static_cast<int32_t>(weight.cols)},
                         stream.handle()));
  operands.x = values;
  operands.x_stride = stride;
  operands.x_scales = scales;
  return operands;
}

}  // namespace

bool Products::run_own(const MatmulWeight& weight, const MatmulOperands& operands, CudaStream& stream) {
  if (skinny_supports(weight, operands, device_)) {
    CUDA_CHECK(matmul_skinny(weight, operands, device_, stream.handle()));
    return true;
  }
  if (batch_i4_supports(weight, operands, device_)) {
    CUDA_CHECK(matmul_batch_i4(weight, operands, device_, stream.handle()));
    return true;
  }
  if (wide_i4_supports(weight, operands, device_)) {
    CUDA_CHECK(matmul_wide_i4(weight, operands, device_, stream.handle()));
    return true;
  }
  if (gate_up_supports(weight, operands, device_)) {
    CUDA_CHECK(matmul_gate_up(weight, operands, device_, stream.handle()));
    return true;
  }
  return false;
}

bool Products::run_fused(const CudaLinear& weight, const Activation& x, const Rows& rows, const Matrix& y,
                         CudaStream& stream, std::byte* scratch) {
  if (weight.format == WeightFormat::kF32) return false;
  MatmulWeight packed = matmul_weight(weight);
  packed.bias = weight.bias();
  packed.gate_up = weight.consumer == LinearConsumer::kGateUp;
  const bool few = rows.capacity <= few_rows(weight);
  if (!few && weight.format == WeightFormat::kF8) return false;
  MatmulOperands operands = prepare(weight, x, rows.capacity, rows.count, y, device_, stream, scratch);
  if (few) operands.next = foresee(weight, stream);
  return run_own(packed, operands, stream);
}

void Products::run(const CudaLinear& weight, const Activation& x, int64_t m, const Matrix& y, CudaStream& stream,
                   std::byte* scratch) {
  if (m == 0) return;
  if (weight.format == WeightFormat::kF32) return product_any(weight, x.values, m, y, stream.handle());
  const MatmulWeight packed = matmul_weight(weight);
  MatmulOperands operands = prepare(weight, x, m, nullptr, y, device_, stream, scratch);
  if (m <= few_rows(weight)) operands.next = foresee(weight, stream);
  if (run_own(packed, operands, stream)) return;
  if (blas_takes(packed, operands) && run_blas(packed, operands, stream)) return;
  if (weight.format == WeightFormat::kBF16) return product_any(weight, x.values, m, y, stream.handle());
  CUDA_CHECK(matmul_generic(packed, operands, stream.handle()));
}

std::vector<int32_t> Products::row_classes(int32_t most) {
  std::vector<int32_t> classes;
  for (int64_t rows = most; rows > kManyRows; rows /= 2) classes.push_back(static_cast<int32_t>(rows));
  for (int64_t rows = std::min<int64_t>(most, kManyRows); rows > kSkinnyRows;) {
    classes.push_back(static_cast<int32_t>(rows));
    rows = bucket_of(rows) - class_width(rows);
  }
  return classes;
}

// A class of many rows that was not tuned does with what the nearest one does, if the start has tuned some: tuning
// takes a tenth of a second, most of it the loading of kernels, and somebody waits for this product.
std::map<Products::Key, Products::Choice>::iterator Products::neighbour(const Key& key) {
  if (key.m_bucket <= kManyRows) return choices_.end();
  auto nearest = choices_.end();
  const auto distance = [&](const Key& other) { return std::abs(other.m_bucket - key.m_bucket); };
  for (auto it = choices_.begin(); it != choices_.end(); ++it) {
    Key same = it->first;
    same.m_bucket = key.m_bucket;
    if (same != key || !it->second.tuned || it->first.m_bucket < kManyRows) continue;
    if (nearest == choices_.end() || distance(it->first) < distance(nearest->first)) nearest = it;
  }
  return nearest;
}

bool Products::run_blas(const MatmulWeight& weight, const MatmulOperands& o, CudaStream& stream) {
  const bool f8 = weight.format == MatmulFormat::kF8;
  const Key key{weight.n, weight.k, bucket_of(o.rows), o.x_stride, o.y_stride, o.y_f32 ? DType::kF32 : DType::kBF16,
                f8};
  Problem problem(weight, o);
  cublasLtMatmulAlgo_t algo;
  {
    constexpr int kCandidates = 8;
    const std::lock_guard lock(mutex_);
    auto found = choices_.find(key);
    if (found == choices_.end()) found = neighbour(key);
    if (found == choices_.end()) {
      const auto first = problem.algorithms(handle_, 1);
      if (first.empty()) return false;
      found = choices_.emplace(key, Choice{first.front().algo, false}).first;
    }
    if (!found->second.tuned && !stream.capturing()) {
      found->second = {
          fastest(problem, handle_, weight.data, o.x, o.y, problem.algorithms(handle_, kCandidates), stream), true};
    }
    algo = found->second.algo;
  }
  if (problem.run(handle_, weight.data, o.x, o.y, algo, stream) == CUBLAS_STATUS_SUCCESS) return true;
  // The class's algorithm does not do this very row count.
  const auto other = problem.algorithms(handle_, 1);
  return !other.empty() &&
         problem.run(handle_, weight.data, o.x, o.y, other.front().algo, stream) == CUBLAS_STATUS_SUCCESS;
}

}  // namespace glimpse::cuda
