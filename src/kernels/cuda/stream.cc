#include "kernels/cuda/stream.h"

#include <string>

#include "base/check.h"
#include "kernels/cuda/error.h"

namespace glimpse::cuda {

namespace {

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraphExec_t handle) : handle_(handle) {}
  ~CudaGraph() override { cudaGraphExecDestroy(handle_); }
  cudaGraphExec_t handle() const { return handle_; }

 private:
  cudaGraphExec_t handle_;
};

}  // namespace

CudaStream::CudaStream(Backend& backend, Products& products, bool low_priority)
    : backend_(backend), products_(products) {
  int least = 0;
  int greatest = 0;
  CUDA_CHECK(cudaDeviceGetStreamPriorityRange(&least, &greatest));
  CUDA_CHECK(cudaStreamCreateWithPriority(&handle_, cudaStreamNonBlocking, low_priority ? least : greatest));
  CUDA_CHECK(cudaMalloc(&blas_workspace_, kBlasWorkspace));
  CUDA_CHECK(cudaMalloc(&counters_, kStreamCounters * sizeof(int32_t)));
  CUDA_CHECK(cudaMemset(counters_, 0, kStreamCounters * sizeof(int32_t)));
  CUDA_CHECK(cudaStreamSynchronize(nullptr));  // this stream does not wait for the default one
  int device = 0;
  int major = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device));
  dependent_ = major >= 9;
}

CudaStream::~CudaStream() {
  cudaStreamSynchronize(handle_);
  cudaFree(workspace_);
  cudaFree(blas_workspace_);
  cudaFree(counters_);
  cudaStreamDestroy(handle_);
}

void CudaStream::synchronize() {
  CUDA_CHECK(cudaStreamSynchronize(handle_));
}

void CudaStream::copy(void* dst, const void* src, size_t bytes) {
  if (bytes > 0) CUDA_CHECK(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, handle_));
}

Status CudaStream::reserve_workspace(size_t bytes) {
  if (bytes <= workspace_size_) return {};
  synchronize();
  CUDA_CHECK(cudaFree(workspace_));
  workspace_ = nullptr;
  workspace_size_ = 0;
  if (cudaMalloc(&workspace_, bytes) != cudaSuccess) {
    cudaGetLastError();
    return Error{ErrorCode::kResource, "out of device memory: " + std::to_string(bytes) + " bytes of workspace"};
  }
  workspace_size_ = bytes;
  return {};
}

void* CudaStream::workspace_bytes(size_t bytes) const {
  CHECK(bytes <= workspace_size_, bytes, workspace_size_);
  return workspace_;
}

void CudaStream::begin_capture() {
  CHECK(!capturing_);
  CUDA_CHECK(cudaStreamBeginCapture(handle_, cudaStreamCaptureModeThreadLocal));
  capturing_ = true;
}

Result<std::unique_ptr<Graph>> CudaStream::end_capture() {
  CHECK(capturing_);
  capturing_ = false;
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(handle_, &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return Error{ErrorCode::kResource, std::string("cannot make a CUDA graph: ") + cudaGetErrorString(error)};
  }
  CUDA_CHECK(cudaGraphUpload(executable, handle_));
  return std::unique_ptr<Graph>(std::make_unique<CudaGraph>(executable));
}

void CudaStream::launch(const Graph& graph) {
  CUDA_CHECK(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).handle(), handle_));
}

void CudaStream::record(Event& event) {
  CUDA_CHECK(cudaEventRecord(static_cast<CudaEvent&>(event).handle(), handle_));
}

void CudaStream::wait(const Event& event) {
  CUDA_CHECK(cudaStreamWaitEvent(handle_, static_cast<const CudaEvent&>(event).handle()));
}

CudaEvent::CudaEvent() {
  CUDA_CHECK(cudaEventCreate(&handle_));
}

int64_t CudaEvent::ns_since(const Event& earlier) const {
  float ms = 0;
  CUDA_CHECK(cudaEventElapsedTime(&ms, static_cast<const CudaEvent&>(earlier).handle(), handle_));
  return static_cast<int64_t>(static_cast<double>(ms) * 1e6);
}

CudaEvent::~CudaEvent() {
  cudaEventDestroy(handle_);
}

void CudaEvent::wait() const {
  CUDA_CHECK(cudaEventSynchronize(handle_));
}

bool CudaEvent::done() const {
  const cudaError_t error = cudaEventQuery(handle_);
  if (error == cudaErrorNotReady) return false;
  CUDA_CHECK(error);
  return true;
}

}  // namespace glimpse::cuda
