#include "weights/source.h"

#include <algorithm>

#include "base/check.h"
#include "base/quote.h"
#include "weights/safetensors.h"

namespace glimpse {

const TensorInfo& WeightTensor::info() const {
  return source_->tensors()[index_];
}

int64_t WeightTensor::num_rows() const {
  const std::vector<int64_t>& shape = info().shape;
  return shape.size() < 2 ? 1 : shape[0];
}

int64_t WeightTensor::row_size() const {
  const std::vector<int64_t>& shape = info().shape;
  int64_t size = 1;  // cannot overflow: the source has checked the whole product
  for (size_t i = shape.size() < 2 ? 0 : 1; i < shape.size(); ++i) size *= shape[i];
  return size;
}

namespace {

template <typename T>
void check_range(const WeightTensor& tensor, int64_t first_row, int64_t num_rows, std::span<T> out) {
  CHECK(first_row >= 0 && num_rows >= 0 && first_row + num_rows <= tensor.num_rows(), tensor.info().name, first_row,
        num_rows, tensor.num_rows());
  CHECK(static_cast<int64_t>(out.size()) == num_rows * tensor.row_size(), tensor.info().name, out.size(), num_rows,
        tensor.row_size());
}

}  // namespace

Status WeightTensor::read_rows(int64_t first_row, int64_t num_rows, std::span<float> out) const {
  check_range(*this, first_row, num_rows, out);
  return source_->read(index_, first_row * row_size(), out);
}

Status WeightTensor::read_rows(int64_t first_row, int64_t num_rows, std::span<bf16> out) const {
  check_range(*this, first_row, num_rows, out);
  return source_->read(index_, first_row * row_size(), out);
}

std::optional<StoredFormat> WeightTensor::stored_format() const {
  return source_->stored_format(index_);
}

Status WeightTensor::read_int4(int64_t first_row, int64_t num_rows, const Int4Rows& out) const {
  return source_->read_int4(index_, first_row, num_rows, out);
}

Status WeightTensor::read_f8(int64_t first_row, int64_t num_rows, const F8Rows& out) const {
  return source_->read_f8(index_, first_row, num_rows, out);
}

Status WeightSource::read_int4(size_t index, int64_t, int64_t, const Int4Rows&) const {
  CHECK(false, tensors_[index].name);
  return {};
}

Status WeightSource::read_f8(size_t index, int64_t, int64_t, const F8Rows&) const {
  CHECK(false, tensors_[index].name);
  return {};
}

std::span<const std::byte> WeightTensor::bytes() const {
  return source_->bytes(index_);
}

void WeightTensor::drop_rows(int64_t first_row, int64_t num_rows) const {
  source_->drop(index_, first_row * row_size(), num_rows * row_size());
}

const TensorInfo* WeightSource::find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const TensorInfo& info, std::string_view key) { return info.name < key; });
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

Result<WeightTensor> WeightSource::get(const TensorSpec& spec) const {
  const TensorInfo* info = find(spec.name);
  if (info == nullptr) {
    return Error{ErrorCode::kInvalidData, label() + ": tensor " + in_quotes(spec.name) + " is missing"};
  }
  if (info->shape != spec.shape) {
    return Error{ErrorCode::kInvalidData, (info->file.empty() ? label() : info->file) + ": tensor " +
                                              in_quotes(spec.name) + " has shape " + shape_text(info->shape) +
                                              ", the config asks for " + shape_text(spec.shape)};
  }
  return WeightTensor(this, static_cast<size_t>(info - tensors_.data()));
}

}  // namespace glimpse
