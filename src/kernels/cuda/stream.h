#pragma once

// A CUDA stream with its scratch memory.

#include <cublasLt.h>
#include <cuda_runtime.h>

#include "kernels/backend.h"

namespace glimpse::cuda {

class Products;
struct WeightPlace;

// Bytes of scratch that cuBLASLt may use on a stream, beside the ops' own workspace.
constexpr size_t kBlasWorkspace = size_t{64} << 20;

// Of int32 counters that kernels of a stream agree by; zero between kernels.
constexpr size_t kStreamCounters = 4096;

class CudaStream final : public Stream {
 public:
  // `low_priority`: its kernels' blocks give way to those of other streams.
  CudaStream(Backend& backend, Products& products, bool low_priority);
  ~CudaStream() override;

  Backend& backend() const override { return backend_; }
  void synchronize() override;
  void copy(void* dst, const void* src, size_t bytes) override;
  Status reserve_workspace(size_t bytes) override;
  void begin_capture() override;
  Result<std::unique_ptr<Graph>> end_capture() override;
  void launch(const Graph& graph) override;
  void record(Event& event) override;
  void wait(const Event& event) override;

  cudaStream_t handle() const { return handle_; }
  Products& products() const { return products_; }
  bool capturing() const { return capturing_; }
  // Whether the device can start a kernel before the one in front of it has ended (device.cuh).
  bool launches_dependently() const { return dependent_; }
  // The weight of the last product that was enqueued here.
  std::weak_ptr<WeightPlace> last_weight;
  // The ops' scratch; CHECKs that it was reserved.
  template <typename T>
  T* workspace(size_t count) const {
    return static_cast<T*>(workspace_bytes(count * sizeof(T)));
  }
  void* blas_workspace() const { return blas_workspace_; }
  int32_t* counters() const { return counters_; }

 private:
  void* workspace_bytes(size_t bytes) const;

  Backend& backend_;
  Products& products_;
  cudaStream_t handle_ = nullptr;
  void* workspace_ = nullptr;
  size_t workspace_size_ = 0;
  void* blas_workspace_ = nullptr;
  int32_t* counters_ = nullptr;
  bool capturing_ = false;
  bool dependent_ = false;
};

inline CudaStream& cuda_stream(Stream& stream) {
  return static_cast<CudaStream&>(stream);
}

class CudaEvent final : public Event {
 public:
  CudaEvent();
  ~CudaEvent() override;
  void wait() const override;
  bool done() const override;
  int64_t ns_since(const Event& earlier) const override;
  cudaEvent_t handle() const { return handle_; }

 private:
  cudaEvent_t handle_ = nullptr;
};

}  // namespace glimpse::cuda
