#include "weights/quantized.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>

#include "base/check.h"
#include "base/quote.h"
#include "weights/convert.h"
#include "weights/quantized_rows.h"
#include "weights/safetensors.h"

namespace glimpse {

namespace {

using Values = QuantizedLayout::Values;

constexpr int64_t kMaxDim = int64_t{1} << 31;

// Collects one layer's tensors and checks them against each other.
class LayerBuilder {
 public:
  LayerBuilder(const WeightSource& stored, std::string prefix) : stored_(stored), prefix_(std::move(prefix)) {}

  Result<QuantizedLayout> gptq(const QuantizationConfig& config) {
    ASSIGN_OR_RETURN(const TensorInfo* values, required("qweight", layout_.value_idx, {DType::kI32}, 2));
    ASSIGN_OR_RETURN(const TensorInfo* scales, required_scale("scales"));
    ASSIGN_OR_RETURN(const TensorInfo* zeros, required("qzeros", layout_.zero_idx, {DType::kI32}, 2));
    layout_.values = Values::kGptq;
    layout_.bits = config.bits;
    layout_.symmetric = config.symmetric;
    layout_.zeros_less_one = config.zeros_less_one;
    layout_.scales_by_group = true;
    layout_.rows = values->shape[1];
    const TensorInfo* group_of = optional_tensor("g_idx", layout_.group_idx);
    if (group_of != nullptr) {
      // Files of mixed widths: the number of columns tells the layer's own.
      if (group_of->dtype != DType::kI32 || group_of->shape.size() != 1) return mismatch(*group_of);
      layout_.cols = group_of->shape[0];
      if (layout_.cols == 0) return mismatch(*group_of);
      layout_.bits = static_cast<int32_t>(values->shape[0] * 32 / layout_.cols);
    } else {
      layout_.cols = values->shape[0] * 32 / layout_.bits;
    }
    if (layout_.bits != 4 && layout_.bits != 8) return mismatch(*values);
    set_group(config.group_size);
    RETURN_IF_ERROR(check_dims(*values));
    const int64_t groups = layout_.groups();
    RETURN_IF_ERROR(check_shape(*values, {layout_.cols * layout_.bits / 32, layout_.rows}));
    RETURN_IF_ERROR(check_shape(*scales, {groups, layout_.rows}));
    RETURN_IF_ERROR(check_shape(*zeros, {groups, layout_.rows * layout_.bits / 32}));
    if (layout_.cols * layout_.bits % 32 != 0 || layout_.rows * layout_.bits % 32 != 0) return mismatch(*values);
    RETURN_IF_ERROR(check_order());
    return layout_;
  }

  Result<QuantizedLayout> awq(const QuantizationConfig& config) {
    ASSIGN_OR_RETURN(const TensorInfo* values, required("qweight", layout_.value_idx, {DType::kI32}, 2));
    ASSIGN_OR_RETURN(const TensorInfo* scales, required_scale("scales"));
    ASSIGN_OR_RETURN(const TensorInfo* zeros, required("qzeros", layout_.zero_idx, {DType::kI32}, 2));
    layout_.values = Values::kAwq;
    layout_.symmetric = false;
    layout_.scales_by_group = true;
    layout_.cols = values->shape[0];
    layout_.rows = values->shape[1] * 8;
    set_group(config.group_size);
    RETURN_IF_ERROR(check_dims(*values));
    RETURN_IF_ERROR(check_shape(*scales, {layout_.groups(), layout_.rows}));
    RETURN_IF_ERROR(check_shape(*zeros, {layout_.groups(), layout_.rows / 8}));
    return layout_;
  }

  Result<QuantizedLayout> packed() {
    ASSIGN_OR_RETURN(const TensorInfo* values, required("weight_packed", layout_.value_idx, {DType::kI32}, 2));
    ASSIGN_OR_RETURN(const TensorInfo* scales, required_scale("weight_scale"));
    ASSIGN_OR_RETURN(const TensorInfo* shape, required("weight_shape", shape_idx_, {DType::kI64, DType::kI32}, 1));
    layout_.values = Values::kPacked;
    if (shape->shape[0] != 2) return mismatch(*shape);
    const auto dims = tensor(shape_idx_).bytes();
    for (int i = 0; i < 2; ++i) {
      int64_t dim = 0;
      int32_t narrow = 0;
      if (shape->dtype == DType::kI64) {
        std::memcpy(&dim, dims.data() + 8 * i, 8);
      } else {
        std::memcpy(&narrow, dims.data() + 4 * i, 4);
        dim = narrow;
      }
      (i == 0 ? layout_.rows : layout_.cols) = dim;
    }
    RETURN_IF_ERROR(check_dims(*shape));
    // The width follows from how many words hold a row.
    const int64_t words = values->shape[1];
    layout_.bits = words == (layout_.cols + 7) / 8 ? 4 : 8;
    RETURN_IF_ERROR(check_shape(*values, {layout_.rows, (layout_.cols * layout_.bits + 31) / 32}));
    RETURN_IF_ERROR(set_scale_layout(*scales));
    if (layout_.row_block != 1) return mismatch(*scales);
    const TensorInfo* zeros = optional_tensor("weight_zero_point", layout_.zero_idx);
    if (zeros != nullptr) {
      layout_.symmetric = false;
      layout_.packed_zeros = zeros->dtype == DType::kI32;
      if (!layout_.packed_zeros && zeros->dtype != DType::kI8) return mismatch(*zeros);
      const int64_t per_word = 32 / layout_.bits;
      RETURN_IF_ERROR(check_shape(
          *zeros, {layout_.packed_zeros ? (layout_.rows + per_word - 1) / per_word : layout_.rows, layout_.groups()}));
    }
    const TensorInfo* group_of = optional_tensor("weight_g_idx", layout_.group_idx);
    if (group_of != nullptr) {
      if (group_of->dtype != DType::kI32) return mismatch(*group_of);
      RETURN_IF_ERROR(check_shape(*group_of, {layout_.cols}));
      RETURN_IF_ERROR(check_order());
    }
    return layout_;
  }

  // A weight of eight bits and its scale; `inverse`: under the name weight_scale_inv.
  Result<QuantizedLayout> eight_bits(bool inverse) {
    ASSIGN_OR_RETURN(const TensorInfo* values, required("weight", layout_.value_idx, {DType::kF8E4M3, DType::kI8}, 2));
    ASSIGN_OR_RETURN(const TensorInfo* scales, required_scale(inverse ? "weight_scale_inv" : "weight_scale"));
    layout_.values = values->dtype == DType::kI8 ? Values::kInt8 : Values::kF8;
    layout_.bits = 8;
    layout_.rows = values->shape[0];
    layout_.cols = values->shape[1];
    RETURN_IF_ERROR(check_dims(*values));
    RETURN_IF_ERROR(set_scale_layout(*scales));
    if (stored_.find(prefix_ + "weight_zero_point") != nullptr) {
      return Error{ErrorCode::kUnsupported, prefix_ + "weight: 8-bit weights with zero points are not read"};
    }
    return layout_;
  }

  std::string name() const { return prefix_ + "weight"; }

 private:
  Error mismatch(const TensorInfo& info) const {
    return {ErrorCode::kInvalidData, info.file + ": tensor " + in_quotes(info.name) + " (" +
                                         std::string(dtype_name(info.dtype)) + " " + shape_text(info.shape) +
                                         ") does not fit the other tensors of its layer"};
  }

  WeightTensor tensor(int64_t index) const { return {&stored_, static_cast<size_t>(index)}; }

  const TensorInfo* optional_tensor(const char* field, int64_t& index) const {
    const TensorInfo* info = stored_.find(prefix_ + field);
    index = info == nullptr ? -1 : info - stored_.tensors().data();
    return info;
  }

  Result<const TensorInfo*> required(const char* field, int64_t& index, std::initializer_list<DType> dtypes,
                                     size_t rank) const {
    const TensorInfo* info = optional_tensor(field, index);
    if (info == nullptr) {
      return Error{ErrorCode::kInvalidData, stored_.label() + ": tensor " + in_quotes(prefix_ + field) + " is missing"};
    }
    if (std::find(dtypes.begin(), dtypes.end(), info->dtype) == dtypes.end() || info->shape.size() != rank) {
      return mismatch(*info);
    }
    return info;
  }

  Result<const TensorInfo*> required_scale(const char* field) {
    const TensorInfo* info = optional_tensor(field, layout_.scale_idx);
    if (info == nullptr) {
      return Error{ErrorCode::kInvalidData, stored_.label() + ": tensor " + in_quotes(prefix_ + field) + " is missing"};
    }
    if (!is_float(info->dtype)) return mismatch(*info);
    return info;
  }

  void set_group(int64_t group_size) { layout_.group = group_size == -1 ? layout_.cols : group_size; }

  Status check_dims(const TensorInfo& info) const {
    const bool sound = layout_.rows > 0 && layout_.cols > 0 && layout_.rows < kMaxDim && layout_.cols < kMaxDim;
    return sound ? Status() : Status(mismatch(info));
  }

  Status check_shape(const TensorInfo& info, const std::vector<int64_t>& shape) const {
    return info.shape == shape ? Status() : Status(mismatch(info));
  }

  // Scales of one number, a column, or blocks of rows and groups of columns.
  Status set_scale_layout(const TensorInfo& scales) {
    const std::vector<int64_t>& shape = scales.shape;
    const int64_t down = shape.empty() ? 1 : shape[0];
    const int64_t across = shape.size() < 2 ? 1 : shape[1];
    if (shape.size() > 2 || down <= 0 || across <= 0 || down > layout_.rows || across > layout_.cols) {
      return mismatch(scales);
    }
    const auto share = [](int64_t size, int64_t parts) {
      // Blocks and groups are powers of two, but for those that cover everything.
      if (parts == 1) return size;
      int64_t block = 1;
      while ((size + block - 1) / block > parts) block *= 2;
      return block;
    };
    layout_.row_block = share(layout_.rows, down);
    layout_.group = share(layout_.cols, across);
    const bool fits = (layout_.rows + layout_.row_block - 1) / layout_.row_block == down && layout_.groups() == across;
    return fits ? Status() : Status(mismatch(scales));
  }

  // Groups of columns in the plain order need no list; in another, its entries are checked here, once.
  Status check_order() {
    if (layout_.group_idx < 0) return {};
    const auto bytes = tensor(layout_.group_idx).bytes();
    bool plain = true;
    bool all_zero = true;
    for (int64_t c = 0; c < layout_.cols; ++c) {
      int32_t group = 0;
      std::memcpy(&group, bytes.data() + 4 * c, 4);
      if (group < 0 || group >= layout_.groups()) {
        return mismatch(stored_.tensors()[static_cast<size_t>(layout_.group_idx)]);
      }
      plain = plain && group == c / layout_.group;
      all_zero = all_zero && group == 0;
    }
    // All zeros stand for "no order".
    if (plain || all_zero) layout_.group_idx = -1;
    return {};
  }

  const WeightSource& stored_;
  std::string prefix_;  // ends in "."
  QuantizedLayout layout_;
  int64_t shape_idx_ = -1;
};

// Which of a layer's stored tensors announces it, and what goes with them.
struct Announcement {
  std::string_view suffix;
  std::vector<std::string_view> others;  // not tensors of their own any more
};

const Announcement* announcement_of(const WeightSource& stored, const TensorInfo& info, std::string& prefix) {
  static const std::vector<Announcement> kAnnouncements = {
      {"qweight", {"qzeros", "scales", "g_idx"}},
      {"weight_packed", {"weight_scale", "weight_zero_point", "weight_shape", "weight_g_idx"}},
      {"weight",
       {"weight_scale", "weight_scale_inv", "weight_zero_point", "input_scale", "input_zero_point", "output_scale"}}};
  for (const Announcement& announcement : kAnnouncements) {
    const std::string ending = "." + std::string(announcement.suffix);
    if (!info.name.ends_with(ending)) continue;
    prefix = info.name.substr(0, info.name.size() - announcement.suffix.size());
    if (announcement.suffix == "weight") {
      const bool eight = info.dtype == DType::kF8E4M3 || info.dtype == DType::kI8;
      const bool scaled = stored.find(prefix + "weight_scale") || stored.find(prefix + "weight_scale_inv");
      if (!eight || !scaled) return nullptr;
    }
    return &announcement;
  }
  return nullptr;
}

Result<QuantizedLayout> layer_of(const WeightSource& stored, const std::string& prefix, std::string_view suffix,
                                 const QuantizationConfig& config) {
  LayerBuilder builder(stored, prefix);
  if (suffix == "weight_packed") return builder.packed();
  if (suffix == "weight") return builder.eight_bits(stored.find(prefix + "weight_scale") == nullptr);
  if (config.method == QuantMethod::kAwq) return builder.awq(config);
  if (config.method == QuantMethod::kGptq) return builder.gptq(config);
  return Error{ErrorCode::kInvalidData, stored.label() + ": " + in_quotes(prefix + "qweight") +
                                            " is there, but quantization_config says " +
                                            quant_method_name(config.method)};
}

QuantizedBytes bytes_of(const WeightSource& stored, const QuantizedLayout& layout) {
  const auto bytes = [&](int64_t index) {
    return index < 0 ? std::span<const std::byte>() : WeightTensor(&stored, static_cast<size_t>(index)).bytes();
  };
  return {.values = bytes(layout.value_idx),
          .scales = bytes(layout.scale_idx),
          .scale_dtype = stored.tensors()[static_cast<size_t>(layout.scale_idx)].dtype,
          .zeros = bytes(layout.zero_idx),
          .group_of = bytes(layout.group_idx)};
}

std::string layout_name(const QuantizedLayout& layout) {
  std::string name = layout.values == Values::kF8 ? "fp8" : "int" + std::to_string(layout.bits);
  if (layout.row_block == layout.rows && layout.group == layout.cols) return name + " with one scale";
  if (layout.row_block > 1) {
    return name + " in blocks of " + std::to_string(layout.row_block) + "x" + std::to_string(layout.group);
  }
  name += layout.group == layout.cols ? " with a scale per row" : " in groups of " + std::to_string(layout.group);
  if (layout.group_idx >= 0) name += " in activation order";
  if (!layout.symmetric) name += " with zero points";
  return name;
}

}  // namespace

Result<std::unique_ptr<QuantizedSource>> QuantizedSource::create(std::shared_ptr<const WeightSource> stored,
                                                                 const QuantizationConfig& config) {
  struct Found {
    TensorInfo info;
    Entry entry;
  };
  std::map<std::string, Found, std::less<>> found;
  std::vector<QuantizedLayout> layers;
  std::vector<std::string> taken;
  for (size_t i = 0; i < stored->tensors().size(); ++i) {
    const TensorInfo& info = stored->tensors()[i];
    std::string prefix;
    const Announcement* announcement = announcement_of(*stored, info, prefix);
    if (announcement == nullptr) continue;
    ASSIGN_OR_RETURN(const QuantizedLayout layout, layer_of(*stored, prefix, announcement->suffix, config));
    taken.push_back(info.name);
    for (const std::string_view other : announcement->others) taken.push_back(prefix + std::string(other));
    TensorInfo weight{
        .name = prefix + "weight", .dtype = DType::kBF16, .shape = {layout.rows, layout.cols}, .file = info.file};
    if (found.contains(weight.name)) {
      return Error{ErrorCode::kInvalidData, info.file + ": layer " + in_quotes(weight.name) + " is stored twice"};
    }
    found.emplace(weight.name, Found{weight, {.layer = static_cast<int64_t>(layers.size())}});
    layers.push_back(layout);
  }
  std::sort(taken.begin(), taken.end());
  for (size_t i = 0; i < stored->tensors().size(); ++i) {
    const TensorInfo& info = stored->tensors()[i];
    if (std::binary_search(taken.begin(), taken.end(), info.name)) continue;
    if (info.name.ends_with(".k_scale") || info.name.ends_with(".v_scale")) continue;  // of fp8 caches
    if (!found.emplace(info.name, Found{info, {.stored_idx = static_cast<int64_t>(i)}}).second) {
      return Error{ErrorCode::kInvalidData,
                   info.file + ": " + in_quotes(info.name) + " is there quantised and as it is"};
    }
  }
  std::vector<TensorInfo> infos;
  std::vector<Entry> entries;
  for (auto& [name, one] : found) {
    infos.push_back(std::move(one.info));
    entries.push_back(one.entry);
  }
  return std::unique_ptr<QuantizedSource>(
      new QuantizedSource(std::move(stored), config.method, std::move(infos), std::move(entries), std::move(layers)));
}

std::string QuantizedSource::summary() const {
  std::map<std::string, int> counts;
  for (const QuantizedLayout& layer : layers_) ++counts[layout_name(layer)];
  std::string text;
  for (const auto& [name, count] : counts) {
    text += (text.empty() ? "" : "; ") + std::to_string(count) +
            (count == 1 ? " linear layer of " : " linear layers of ") + name;
  }
  return (text.empty() ? "no quantised layer" : text) + ", " + quant_method_name(method_);
}

std::optional<StoredFormat> QuantizedSource::stored_format(size_t index) const {
  if (entries_[index].layer < 0) return std::nullopt;
  const QuantizedLayout& layer = layers_[static_cast<size_t>(entries_[index].layer)];
  return StoredFormat{.kind = layer.values == Values::kF8 ? StoredFormat::Kind::kF8
                              : layer.bits == 4           ? StoredFormat::Kind::kInt4
                                                          : StoredFormat::Kind::kInt8,
                      .group = layer.group,
                      .row_scales = layer.row_block == 1 || layer.row_block == layer.rows,
                      .zero_points = !layer.symmetric,
                      .act_order = layer.group_idx >= 0};
}

Status QuantizedSource::read(size_t index, int64_t first, std::span<float> out) const {
  const Entry& entry = entries_[index];
  if (entry.layer < 0) {
    // A range of whole rows, as it came in.
    const WeightTensor tensor(stored_.get(), static_cast<size_t>(entry.stored_idx));
    const int64_t row = std::max<int64_t>(tensor.row_size(), 1);
    return tensor.read_rows(first / row, static_cast<int64_t>(out.size()) / row, out);
  }
  const QuantizedLayout& layer = layers_[static_cast<size_t>(entry.layer)];
  auto status = dequantize_rows(layer, bytes_of(*stored_, layer), first / layer.cols,
                                static_cast<int64_t>(out.size()) / layer.cols, out.data());
  if (!status) return std::move(status).error().in(tensors()[index].name);
  return {};
}

Status QuantizedSource::read(size_t index, int64_t first, std::span<bf16> out) const {
  const Entry& entry = entries_[index];
  if (entry.layer < 0) {
    const WeightTensor tensor(stored_.get(), static_cast<size_t>(entry.stored_idx));
    const int64_t row = std::max<int64_t>(tensor.row_size(), 1);
    return tensor.read_rows(first / row, static_cast<int64_t>(out.size()) / row, out);
  }
  std::vector<float> values(out.size());
  RETURN_IF_ERROR(read(index, first, std::span<float>(values)));
  convert(DType::kF32, std::as_bytes(std::span(values)), out);
  return {};
}

Status QuantizedSource::read_int4(size_t index, int64_t first, int64_t count, const Int4Rows& out) const {
  const Entry& entry = entries_[index];
  CHECK(entry.layer >= 0, tensors()[index].name);
  const QuantizedLayout& layer = layers_[static_cast<size_t>(entry.layer)];
  CHECK(layer.bits == 4 && layer.group_idx < 0, tensors()[index].name);
  const QuantizedBytes bytes = bytes_of(*stored_, layer);
  unpack_values(layer, bytes, first, count, out.values);
  const int64_t groups = layer.groups();
  for (int64_t i = 0; i < count * groups; ++i) {
    out.scales[i] = scale_at(layer, bytes, first + i / groups, i % groups);
    auto zero = zero_at(layer, bytes, first + i / groups, i % groups);
    if (!zero) return std::move(zero).error().in(tensors()[index].name);
    out.zeros[i] = static_cast<uint8_t>(*zero);
  }
  return {};
}

Status QuantizedSource::read_f8(size_t index, int64_t first, int64_t count, const F8Rows& out) const {
  const Entry& entry = entries_[index];
  CHECK(entry.layer >= 0, tensors()[index].name);
  const QuantizedLayout& layer = layers_[static_cast<size_t>(entry.layer)];
  CHECK(layer.values == Values::kF8 && layer.group == layer.cols, tensors()[index].name);
  const QuantizedBytes bytes = bytes_of(*stored_, layer);
  std::memcpy(out.values, bytes.values.data() + first * layer.cols, static_cast<size_t>(count * layer.cols));
  for (int64_t r = 0; r < count; ++r) out.scales[r] = scale_at(layer, bytes, first + r, 0);
  return {};
}

std::span<const std::byte> QuantizedSource::bytes(size_t index) const {
  const Entry& entry = entries_[index];
  if (entry.layer >= 0) return {};
  return WeightTensor(stored_.get(), static_cast<size_t>(entry.stored_idx)).bytes();
}

void QuantizedSource::drop(size_t index, int64_t first, int64_t count) const {
  const Entry& entry = entries_[index];
  if (entry.layer < 0) {
    const WeightTensor tensor(stored_.get(), static_cast<size_t>(entry.stored_idx));
    const int64_t row = std::max<int64_t>(tensor.row_size(), 1);
    tensor.drop_rows(first / row, count / row);
    return;
  }
  // Rows of some layouts lie across the whole tensor: it goes when the last row has been read.
  const QuantizedLayout& layer = layers_[static_cast<size_t>(entry.layer)];
  if (first + count < layer.rows * layer.cols) return;
  WeightTensor(stored_.get(), static_cast<size_t>(layer.value_idx)).drop();
}

}  // namespace glimpse
