#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/cuda/error.h"
#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/pack.h"
#include "kernels/cuda/packed.h"

namespace glimpse::cuda {

namespace {

// Rows are staged on the device in pieces of about this size before they are quantised there.
constexpr size_t kStageBytes = size_t{64} << 20;

// Rows as bfloat16 or, for `f32`, float32.
Backend::RowWriter row_writer(const RowReader& read, int64_t cols, bool f32, int64_t first_row) {
  return [&read, cols, f32, first_row](int64_t first, int64_t count, std::byte* dst) {
    first += first_row;
    if (f32) {
      read(first, count, reinterpret_cast<float*>(dst));
    } else if (read.bf16s) {
      read.bf16s(first, count, reinterpret_cast<bf16*>(dst));
    } else {
      std::vector<float> values(static_cast<size_t>(count * cols));
      read(first, count, values.data());
      auto* out = reinterpret_cast<bf16*>(dst);
      for (const float value : values) *out++ = to_bf16(value);
    }
  };
}

Status check_quantized(const LinearSpec& spec) {
  if (spec.format == WeightFormat::kI8) {
    return Error{ErrorCode::kUnsupported, spec.name + ": int8 weights do not run on CUDA; fp8 and int4 do"};
  }
  if (spec.format == WeightFormat::kI4 && (spec.group != i4::kGroup || spec.cols % i4::kGroup != 0)) {
    return Error{ErrorCode::kUnsupported, spec.name + ": int4 on CUDA needs whole groups of 128 columns; it has " +
                                              std::to_string(spec.cols) + " columns in groups of " +
                                              std::to_string(spec.group)};
  }
  return {};
}

// Pieces of rows: uploaded, then quantised where they are.
Status quantize_rows(CudaLinear& linear, const LinearSpec& spec, const RowReader& read, const PackContext& context) {
  const bool f32 = !read.bf16s;
  const size_t row_bytes = static_cast<size_t>(spec.cols) * (f32 ? sizeof(float) : sizeof(bf16));
  const int64_t piece = std::clamp<int64_t>(static_cast<int64_t>(kStageBytes / row_bytes), 1, spec.rows);
  ASSIGN_OR_RETURN(const Buffer stage, context.allocate(static_cast<size_t>(piece) * row_bytes));
  for (int64_t first = 0; first < spec.rows; first += piece) {
    const int64_t count = std::min(piece, spec.rows - first);
    context.upload(stage.data(), count, row_bytes, row_writer(read, spec.cols, f32, first));
    const StagedRows rows{.data = stage.data(),
                          .f32 = f32,
                          .first_row = static_cast<int32_t>(first),
                          .rows = static_cast<int32_t>(count),
                          .k = static_cast<int32_t>(spec.cols),
                          .n = static_cast<int32_t>(spec.rows)};
    if (spec.format == WeightFormat::kI4) {
      CUDA_CHECK(pack_i4(rows, linear.weights.data(), nullptr));
    } else {
      CUDA_CHECK(pack_f8(rows, linear.weights.data(), linear.scales.as<float>(), nullptr));
    }
    CUDA_CHECK(cudaStreamSynchronize(nullptr));
  }
  return {};
}

// A checkpoint's own int4 values.
Status copy_int4(CudaLinear& linear, const LinearSpec& spec, const RowReader& read, const PackContext& context) {
  const int64_t cols = spec.cols;
  const int64_t groups = cols / i4::kGroup;
  const int64_t stored_groups = cols / read.stored.group;
  const auto row_bytes = static_cast<size_t>(StagedI4::row_bytes(cols));
  const int64_t piece = std::clamp<int64_t>(static_cast<int64_t>(kStageBytes / row_bytes), 1, spec.rows);
  ASSIGN_OR_RETURN(const Buffer stage, context.allocate(static_cast<size_t>(piece) * row_bytes));
  for (int64_t first = 0; first < spec.rows; first += piece) {
    const int64_t rows = std::min(piece, spec.rows - first);
    context.upload(stage.data(), rows, row_bytes, [&](int64_t begin, int64_t count, std::byte* dst) {
      std::vector<uint8_t> values(static_cast<size_t>(count * cols));
      std::vector<float> scales(static_cast<size_t>(count * stored_groups));
      std::vector<uint8_t> zeros(scales.size());
      read.int4(first + begin, count, values.data(), scales.data(), zeros.data());
      for (int64_t r = 0; r < count; ++r, dst += row_bytes) {
        std::memcpy(dst, values.data() + r * cols, static_cast<size_t>(cols));
        for (int64_t g = 0; g < groups; ++g) {
          const auto from = static_cast<size_t>(r * stored_groups + g * stored_groups / groups);
          const f16 scale = to_f16(std::clamp(scales[from], -65504.0f, 65504.0f));
          std::memcpy(dst + cols + g * 2, &scale, 2);
          dst[cols + groups * 2 + g] = std::byte{zeros[from]};
        }
      }
    });
    CUDA_CHECK(pack_i4_values({.data = stage.as<uint8_t>(),
                               .zero_points = linear.zero_points,
                               .first_row = static_cast<int32_t>(first),
                               .rows = static_cast<int32_t>(rows),
                               .k = static_cast<int32_t>(cols),
                               .n = static_cast<int32_t>(spec.rows)},
                              linear.weights.data(), nullptr));
    CUDA_CHECK(cudaStreamSynchronize(nullptr));
  }
  return {};
}

// A checkpoint's own e4m3 rows.
Status copy_f8(CudaLinear& linear, const LinearSpec& spec, const RowReader& read, const PackContext& context) {
  std::vector<float> scales(static_cast<size_t>(spec.rows));
  context.upload(linear.weights.data(), spec.rows, static_cast<size_t>(spec.cols),
                 [&](int64_t first, int64_t count, std::byte* dst) {
                   read.f8(first, count, reinterpret_cast<uint8_t*>(dst), scales.data() + first);
                 });
  CUDA_CHECK(cudaMemcpy(linear.scales.data(), scales.data(), scales.size() * sizeof(float), cudaMemcpyHostToDevice));
  return {};
}

}  // namespace

MatmulWeight matmul_weight(const CudaLinear& weight) {
  const MatmulFormat format = weight.format == WeightFormat::kI4   ? MatmulFormat::kI4
                              : weight.format == WeightFormat::kF8 ? MatmulFormat::kF8
                                                                   : MatmulFormat::kBF16;
  return {.format = format,
          .n = static_cast<int32_t>(weight.rows),
          .k = static_cast<int32_t>(weight.cols),
          .data = weight.weights.data(),
          .scales = weight.scales.as<float>(),
          .zero_points = weight.zero_points};
}

Result<std::unique_ptr<CudaLinear>> pack_linear(const LinearSpec& spec, const RowReader& read,
                                                const PackContext& context) {
  auto linear = std::make_unique<CudaLinear>();
  linear->rows = spec.rows;
  linear->cols = spec.cols;
  // An int4 model's head is int8 on the CPU; here it stays as published checkpoints have it.
  const bool plain_head = spec.consumer == LinearConsumer::kHead && spec.format == WeightFormat::kI8;
  linear->format = plain_head ? WeightFormat::kBF16 : spec.format;
  linear->group = spec.group;
  linear->consumer = spec.consumer;
  const auto count = static_cast<size_t>(spec.rows * spec.cols);
  switch (linear->format) {
    case WeightFormat::kF32:
    case WeightFormat::kBF16: {
      const bool f32 = linear->format == WeightFormat::kF32;
      const size_t size = f32 ? sizeof(float) : sizeof(bf16);
      ASSIGN_OR_RETURN(linear->weights, context.allocate(count * size));
      context.upload(linear->weights.data(), spec.rows, static_cast<size_t>(spec.cols) * size,
                     row_writer(read, spec.cols, f32, 0));
      break;
    }
    case WeightFormat::kI8:
    case WeightFormat::kI4:
    case WeightFormat::kF8: {
      RETURN_IF_ERROR(check_quantized(spec));
      linear->zero_points = linear->format == WeightFormat::kI4 && read.int4 && read.stored.zero_points;
      const size_t bytes =
          linear->format == WeightFormat::kF8
              ? count
              : static_cast<size_t>(spec.rows * i4::row_bytes(static_cast<int32_t>(spec.cols), linear->zero_points));
      ASSIGN_OR_RETURN(linear->weights, context.allocate(bytes));
      if (linear->format == WeightFormat::kF8) {
        ASSIGN_OR_RETURN(linear->scales, context.allocate(static_cast<size_t>(spec.rows) * sizeof(float)));
      }
      const bool own_int4 = linear->format == WeightFormat::kI4 && read.int4;
      const bool own_f8 = linear->format == WeightFormat::kF8 && read.f8;
      RETURN_IF_ERROR(own_int4 ? copy_int4(*linear, spec, read, context)
                      : own_f8 ? copy_f8(*linear, spec, read, context)
                               : quantize_rows(*linear, spec, read, context));
      break;
    }
  }
  if (!spec.bias.empty()) {
    ASSIGN_OR_RETURN(linear->bias_memory, context.allocate(spec.bias.size_bytes()));
    CUDA_CHECK(
        cudaMemcpy(linear->bias_memory.data(), spec.bias.data(), spec.bias.size_bytes(), cudaMemcpyHostToDevice));
  }
  return linear;
}

}  // namespace glimpse::cuda
