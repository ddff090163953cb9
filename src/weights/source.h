#pragma once

// Where a model's weights come from: a checkpoint's files (checkpoint.h) or a random generator (dummy.h). The loader
// reads them row by row, so that packing a model needs the result and one piece of a source tensor at a time.

#include <cstddef>
#include <cstdint>
#include <optional>
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

// How a tensor of a quantised checkpoint is stored (quantized.h).
struct StoredFormat {
  enum class Kind : uint8_t { kInt4, kInt8, kF8 };
  Kind kind = Kind::kInt4;
  int64_t group = 0;         // columns to a scale
  bool row_scales = true;    // every row has scales of its own, or they can be repeated as if it had
  bool zero_points = false;  // else 0 is 8 (kInt4) or 128
  bool act_order = false;    // columns belong to groups in an order of their own
};

// Where rows of int4 values go: values 0..15 [count, cols], scales and zero points [count, cols / group].
struct Int4Rows {
  uint8_t* values = nullptr;
  float* scales = nullptr;
  uint8_t* zeros = nullptr;
};

// Where rows of e4m3 values go: [count, cols] bytes and one scale a row.
struct F8Rows {
  uint8_t* values = nullptr;
  float* scales = nullptr;
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

  // Of a quantised tensor: how it is stored. Such a tensor can be read as floats as well.
  std::optional<StoredFormat> stored_format() const;
  // Its integers, for kinds that are so stored (CHECK), without rounding.
  Status read_int4(int64_t first_row, int64_t num_rows, const Int4Rows& out) const;
  Status read_f8(int64_t first_row, int64_t num_rows, const F8Rows& out) const;

  // The tensor as it is stored, with any alignment; empty when it is generated or quantised.
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

  // Behind WeightTensor's functions of the same names.
  virtual std::optional<StoredFormat> stored_format(size_t) const { return std::nullopt; }
  virtual Status read_int4(size_t index, int64_t first, int64_t count, const Int4Rows& out) const;
  virtual Status read_f8(size_t index, int64_t first, int64_t count, const F8Rows& out) const;

  // WeightTensor::drop() of everything, also of what is left when tensors were dropped in parts: the kernel maps pages
  // around those that are read.
  virtual void drop_all() const {}

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
