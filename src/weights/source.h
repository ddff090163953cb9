#pragma once

// Where a model's weights come from: a checkpoint's files (checkpoint.h) or a random generator (dummy.h). The loader
// reads them row by row, so that packing a model needs the result and one piece of a source tensor at a time.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tensor/dtype.h"

namespace glimpse {

// What a model asks for: a tensor's canonical name (names.h) and its shape.
struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;

  bool operator==(const TensorSpec&) const = default;
};

struct TensorInfo {
  std::string name;  // canonical
  DType dtype = DType::kBF16;
  std::vector<int64_t> shape;
  std::string file;  // where it lies, for messages; empty for generated weights
};

class WeightSource;

// One tensor, seen as a matrix: a row is the product of all extents but the first; a vector or a scalar is one row.
// A handle into its source, which it must not outlive. All of it may be used from several threads.
class WeightTensor {
 public:
  WeightTensor(const WeightSource* source, size_t index) : source_(source), index_(index) {}

  const TensorInfo& info() const;
  int64_t num_rows() const;
  int64_t row_size() const;  // elements

  // Rows [first_row, first_row + num_rows), which must exist, converted into `out`, which is exactly as large (CHECK).
  // Float dtypes only; a source tensor of another dtype: kUnsupported naming it. Generated weights never fail.
  Status read_rows(int64_t first_row, int64_t num_rows, std::span<float> out) const;
  Status read_rows(int64_t first_row, int64_t num_rows, std::span<bf16> out) const;

  // The tensor as it is stored, with any alignment; empty when it is generated.
  std::span<const std::byte> bytes() const;
  // These rows have been used: their pages need not stay resident. They can still be read again.
  void drop_rows(int64_t first_row, int64_t num_rows) const;
  void drop() const { drop_rows(0, num_rows()); }

 private:
  const WeightSource* source_;
  size_t index_;
};

class WeightSource {
 public:
  virtual ~WeightSource() = default;

  // Every tensor, sorted by canonical name.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // nullptr when there is none of this name.
  const TensorInfo* find(std::string_view name) const;
  // Errors: kInvalidData when it is missing or has another shape; the message names file and tensor.
  Result<WeightTensor> get(const TensorSpec& spec) const;
  // How messages call the whole: the directory.
  virtual std::string label() const = 0;

 protected:
  // Takes the list and sorts nothing: it must be sorted by name, without duplicates.
  explicit WeightSource(std::vector<TensorInfo> tensors) : tensors_(std::move(tensors)) {}
  WeightSource(WeightSource&&) = default;
  WeightSource& operator=(WeightSource&&) = default;

 private:
  friend class WeightTensor;
  // Elements [first, first + out.size()) of tensor `index` in row-major order.
  virtual Status read(size_t index, int64_t first, std::span<float> out) const = 0;
  virtual Status read(size_t index, int64_t first, std::span<bf16> out) const = 0;
  virtual std::span<const std::byte> bytes(size_t index) const = 0;
  virtual void drop(size_t index, int64_t first, int64_t count) const = 0;

  std::vector<TensorInfo> tensors_;
};

}  // namespace glimpse
