#pragma once

// One back end and its stream under test. All device memory comes from the back end, is filled through stream copies
// and read back after a synchronisation, and is surrounded by guard bytes, so that the same test body runs on the
// reference, on every instruction set of the CPU, and on streams that run later.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace glimpse::testing {

constexpr uint8_t kGuard = 0x7f;  // float32 and bfloat16: 3.39e38; int8: 127

// Back ends that this machine can run: the reference is not among them.
struct Target {
  std::string name;
  CpuOptions options;
  bool cuda = false;
};
std::vector<Target> targets();

// Why the CUDA back end is not among the targets; empty when it is.
std::string why_no_cuda();

class Rig {
 public:
  Rig() : backend_(make_reference_backend()), stream_(backend_->make_stream()) {}
  explicit Rig(const Target& target);
  // The reference is plain float32 and has no limits of its own.
  bool is_cuda() { return backend_->name() == "cuda"; }
  ~Rig();
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  Backend& backend() { return *backend_; }
  Stream& stream() { return *stream_; }
  const OpTable& ops() { return backend_->ops(); }

  // Device memory of `bytes` guard bytes between guards; freed with the rig, which then checks the guards.
  void* allocate(size_t bytes);
  template <typename T>
  T* upload(const std::vector<T>& values) {
    auto* device = static_cast<T*>(allocate(values.size() * sizeof(T)));
    write(device, values);
    return device;
  }
  template <typename T>
  void write(T* device, const std::vector<T>& values) {
    stream_->copy(device, keep(values.data(), values.size() * sizeof(T)), values.size() * sizeof(T));
  }
  template <typename T>
  std::vector<T> download(const T* device, size_t count) {
    std::vector<T> host(count);
    stream_->copy(host.data(), device, count * sizeof(T));
    stream_->synchronize();
    return host;
  }
  Rows rows(int32_t count, int32_t capacity) {
    return {.count = upload(std::vector<int32_t>{count}), .capacity = capacity};
  }

  // A matrix of the dtype with `padding` extra columns of guard bytes; values are row-major [rows, cols].
  Matrix matrix(DType dtype, int64_t rows, int64_t cols, const std::vector<float>& values = {}, int64_t padding = 3);
  std::vector<float> read(const Matrix& m, int64_t rows);
  // An output in the dtype; kI8 with groups.
  Activation activation(DType dtype, int64_t rows, int64_t cols, int32_t group = 32);
  // An input that holds `values` (quantised by the rule for kI8).
  Activation input(DType dtype, int64_t rows, int64_t cols, int32_t group, const std::vector<float>& values);
  // Dequantised values of the first rows; checks the sums of int8 values, and that nothing else was written.
  std::vector<float> read(const Activation& a, int64_t rows);
  // The step between neighbouring stored values around each element.
  std::vector<float> steps(const Activation& a, int64_t rows, const std::vector<float>& values);

  std::unique_ptr<PackedLinear> pack(const LinearSpec& spec, const std::vector<float>& values);

 private:
  const void* keep(const void* data, size_t bytes);

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Stream> stream_;
  std::vector<Buffer> buffers_;
  std::vector<std::vector<std::byte>> uploads_;  // sources of copies that may still be under way
};

// Seeded normal values; with outliers, every 13th is 100 times as large.
std::vector<float> normal_values(size_t count, uint32_t seed, float scale = 1, bool outliers = false);
std::vector<float> rounded_to(DType dtype, std::vector<float> values);

// Fails with the worst element when |actual - expected| exceeds its limit anywhere. Returns the worst fraction of a
// limit, so that a case can print it.
double expect_close(const std::string& what, uint32_t seed, const std::vector<float>& actual,
                    const std::vector<float>& expected, const std::vector<float>& limits);

}  // namespace glimpse::testing
