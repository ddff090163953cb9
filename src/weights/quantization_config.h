#pragma once

// config.json's quantization_config: how a published checkpoint's linear layers are stored. Formats: GLM-V reference,
// section 8.4.

#include <cstdint>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace glimpse {

enum class QuantMethod : uint8_t {
  kGptq,
  kAwq,
  kCompressedTensors,
  kFp8,  // e4m3 with weight_scale_inv
};

struct QuantizationConfig {
  QuantMethod method = QuantMethod::kGptq;
  int32_t bits = 4;             // kGptq, kAwq: 4 or 8
  int64_t group_size = -1;      // kGptq, kAwq: columns to a scale; -1: all
  bool symmetric = true;        // kGptq
  bool zeros_less_one = false;  // kGptq: zero points are stored less one (checkpoint_format "gptq")

  bool operator==(const QuantizationConfig&) const = default;
};

// "gptq", "awq", "compressed-tensors", "fp8".
std::string quant_method_name(QuantMethod method);

// Errors: kInvalidData for a field of the wrong type or out of range, kUnsupported with a sentence for methods, formats
// and bit widths that are not read. Which layers are quantised is not asked here: the tensors that are there tell.
Result<QuantizationConfig> parse_quantization_config(const json::object& object);

}  // namespace glimpse
