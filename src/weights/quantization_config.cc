#include "weights/quantization_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/quote.h"

namespace glimpse {

namespace {

Error unsupported(std::string message) {
  return {ErrorCode::kUnsupported, std::move(message)};
}

Result<QuantizationConfig> parse_groups(const json::object& object, QuantMethod method) {
  QuantizationConfig config{.method = method};
  ASSIGN_OR_RETURN(const int64_t bits, get_int(object, "bits", 4));
  if (bits != 4 && !(bits == 8 && method == QuantMethod::kGptq)) {
    return unsupported(quant_method_name(method) + " weights of " + std::to_string(bits) + " bits are not read; " +
                       (method == QuantMethod::kGptq ? "4 and 8 are" : "4 are"));
  }
  config.bits = static_cast<int32_t>(bits);
  ASSIGN_OR_RETURN(config.group_size, get_int(object, "group_size", -1));
  if (config.group_size != -1 && (config.group_size < 1 || config.group_size > (1 << 24))) {
    return Error{ErrorCode::kInvalidData, "group_size is " + std::to_string(config.group_size)};
  }
  return config;
}

Result<QuantizationConfig> parse_gptq(const json::object& object) {
  ASSIGN_OR_RETURN(QuantizationConfig config, parse_groups(object, QuantMethod::kGptq));
  ASSIGN_OR_RETURN(config.symmetric, get_bool(object, "sym", true));
  ASSIGN_OR_RETURN(const std::string format, get_string(object, "checkpoint_format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") {
    return unsupported("gptq checkpoint_format " + in_quotes(format) + R"( is not read; "gptq" and "gptq_v2" are)");
  }
  config.zeros_less_one = format == "gptq";
  return config;
}

Result<QuantizationConfig> parse_awq(const json::object& object) {
  ASSIGN_OR_RETURN(const QuantizationConfig config, parse_groups(object, QuantMethod::kAwq));
  ASSIGN_OR_RETURN(const std::string version, get_string(object, "version", "gemm"));
  if (version != "gemm" && version != "GEMM") {
    return unsupported("awq version " + in_quotes(version) + R"( is not read; "gemm" is)");
  }
  return config;
}

Result<QuantizationConfig> parse_compressed(const json::object& object) {
  constexpr std::array<std::string_view, 6> kFormats = {"pack-quantized", "float-quantized", "naive-quantized",
                                                        "int-quantized",  "dense",           "mixed-precision"};
  ASSIGN_OR_RETURN(const std::string format, get_string(object, "format", "dense"));
  if (std::find(kFormats.begin(), kFormats.end(), format) == kFormats.end()) {
    return unsupported("compressed-tensors format " + in_quotes(format) +
                       " is not read; pack-quantized, float-quantized, naive-quantized and int-quantized are");
  }
  if (const json::value* sparsity = find(object, "sparsity_config"); sparsity != nullptr && sparsity->is_object()) {
    ASSIGN_OR_RETURN(const std::string kind, get_string(sparsity->get_object(), "format", "dense"));
    if (kind != "dense") return unsupported("sparse weights (" + in_quotes(kind) + ") are not read");
  }
  return QuantizationConfig{.method = QuantMethod::kCompressedTensors};
}

}  // namespace

std::string quant_method_name(QuantMethod method) {
  switch (method) {
    case QuantMethod::kGptq:
      return "gptq";
    case QuantMethod::kAwq:
      return "awq";
    case QuantMethod::kCompressedTensors:
      return "compressed-tensors";
    case QuantMethod::kFp8:
      return "fp8";
  }
  return "?";
}

Result<QuantizationConfig> parse_quantization_config(const json::object& object) {
  ASSIGN_OR_RETURN(const std::string method, get_string(object, "quant_method", ""));
  if (method == "gptq") return parse_gptq(object);
  if (method == "awq") return parse_awq(object);
  if (method == "compressed-tensors") return parse_compressed(object);
  if (method == "fp8") return QuantizationConfig{.method = QuantMethod::kFp8};
  return unsupported("weights quantised by " + (method.empty() ? "an unnamed method" : in_quotes(method)) +
                     R"( are not read; "gptq", "awq", "compressed-tensors" and "fp8" are)");
}

}  // namespace glimpse
