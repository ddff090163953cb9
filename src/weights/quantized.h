#pragma once

// A quantised checkpoint as a source of float weights: for each quantised linear layer there is one tensor
// "….weight" [out, in], whose rows are dequantised as they are read; all other tensors are the checkpoint's own. What
// is quantised is decided by the tensors that are there (qweight, weight_packed, a weight of 8 bits with a scale), not
// by lists of names in the config, which published checkpoints get wrong.

#include <memory>
#include <string>
#include <vector>

#include "weights/quantization_config.h"
#include "weights/source.h"

namespace glimpse {

// How one layer is stored.
struct QuantizedLayout {
  enum class Values : uint8_t {
    kGptq,    // int32 [in bits / 32, out]
    kAwq,     // int32 [in, out / 8], columns interleaved
    kPacked,  // int32 [out, in bits / 32]
    kInt8,    // int8 [out, in]
    kF8,      // e4m3 [out, in]
  };
  Values values = Values::kGptq;
  int32_t bits = 4;
  int64_t rows = 0;              // out
  int64_t cols = 0;              // in
  int64_t group = 0;             // columns to a scale
  int64_t row_block = 1;         // rows to a scale
  bool scales_by_group = false;  // scales are [groups, out], else [out / row_block, groups]
  bool symmetric = true;         // values mean value - 2^(bits - 1); else zero points are stored
  bool zeros_less_one = false;
  bool packed_zeros = true;

  // Stored tensors, by index in the checkpoint; -1: none.
  int64_t value_idx = -1;
  int64_t scale_idx = -1;
  int64_t zero_idx = -1;
  int64_t group_idx = -1;  // of an activation order: int32 [in], the group of each column

  int64_t groups() const { return (cols + group - 1) / group; }
};

class QuantizedSource final : public WeightSource {
 public:
  // Errors: kInvalidData naming a layer whose tensors do not fit together, kUnsupported for what is not read.
  static Result<std::unique_ptr<QuantizedSource>> create(std::shared_ptr<const WeightSource> stored,
                                                         const QuantizationConfig& config);

  std::string label() const override { return stored_->label(); }
  // "240 linear layers of int4 in groups of 128, gptq".
  std::string summary() const;

  std::optional<StoredFormat> stored_format(size_t index) const override;
  Status read_int4(size_t index, int64_t first, int64_t count, const Int4Rows& out) const override;
  Status read_f8(size_t index, int64_t first, int64_t count, const F8Rows& out) const override;
  void drop_all() const override { stored_->drop_all(); }

 private:
  struct Entry {
    int64_t stored_idx = -1;  // a tensor as it is
    int64_t layer = -1;       // or a quantised layer
  };
  QuantizedSource(std::shared_ptr<const WeightSource> stored, QuantMethod method, std::vector<TensorInfo> tensors,
                  std::vector<Entry> entries, std::vector<QuantizedLayout> layers)
      : WeightSource(std::move(tensors)),
        stored_(std::move(stored)),
        method_(method),
        entries_(std::move(entries)),
        layers_(std::move(layers)) {}

  Status read(size_t index, int64_t first, std::span<float> out) const override;
  Status read(size_t index, int64_t first, std::span<bf16> out) const override;
  std::span<const std::byte> bytes(size_t index) const override;
  void drop(size_t index, int64_t first, int64_t count) const override;

  std::shared_ptr<const WeightSource> stored_;
  QuantMethod method_;
  std::vector<Entry> entries_;  // beside tensors()
  std::vector<QuantizedLayout> layers_;
};

}  // namespace glimpse
