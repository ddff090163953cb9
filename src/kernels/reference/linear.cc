#include <algorithm>
#include <cmath>

#include "kernels/elements.h"
#include "kernels/quantization.h"
#include "kernels/reference/ops.h"

namespace glimpse::reference {

namespace {

float max_abs(const float* x, int64_t count) {
  float max = 0;
  for (int64_t i = 0; i < count; ++i) max = std::max(max, std::fabs(x[i]));
  return max;
}

// Replaces a weight row by the values that its stored form stands for.
void round_row(float* w, const LinearSpec& spec) {
  switch (spec.format) {
    case WeightFormat::kF32:
    case WeightFormat::kF8:  // not packed here
      return;
    case WeightFormat::kBF16:
      for (int64_t c = 0; c < spec.cols; ++c) w[c] = to_float(to_bf16(w[c]));
      return;
    case WeightFormat::kI8: {
      const Int8Scale scale = int8_scale(max_abs(w, spec.cols));
      for (int64_t c = 0; c < spec.cols; ++c) w[c] = static_cast<float>(int8_value(w[c], scale)) * scale.scale;
      return;
    }
    case WeightFormat::kI4:
      for (int64_t begin = 0; begin < spec.cols; begin += spec.group) {
        const int64_t count = std::min<int64_t>(spec.group, spec.cols - begin);
        const float scale = to_float(int4_plain_scale(max_abs(w + begin, count)));
        for (int64_t c = begin; c < begin + count; ++c) w[c] = static_cast<float>(int4_value(w[c], scale)) * scale;
      }
      return;
  }
}

float silu(float x) {
  return static_cast<float>(x / (1.0 + std::exp(-double{x})));
}

}  // namespace

std::unique_ptr<ReferenceLinear> pack(const LinearSpec& spec, const RowReader& read) {
  auto linear = std::make_unique<ReferenceLinear>();
  linear->rows = spec.rows;
  linear->cols = spec.cols;
  linear->format = spec.format;
  linear->group = spec.group;
  linear->consumer = spec.consumer;
  linear->weights.resize(spec.rows * spec.cols);
  read(0, spec.rows, linear->weights.data());
  for (int64_t r = 0; r < spec.rows; ++r) round_row(linear->weights.data() + r * spec.cols, spec);
  linear->bias.assign(spec.bias.begin(), spec.bias.end());
  linear->bias.resize(spec.rows);
  return linear;
}

void project_row(const ReferenceLinear& weight, const Activation& x, int64_t r, float* y) {
  for (int64_t n = 0; n < weight.rows; ++n) {
    double sum = weight.bias[n];
    for (int64_t k = 0; k < weight.cols; ++k) sum += double{weight.row(n)[k]} * get_element(x, r, k);
    y[n] = static_cast<float>(sum);
  }
}

void store_row(const float* values, const Activation& y, int64_t r) {
  const int64_t cols = y.values.cols;
  if (y.values.dtype != DType::kI8) {
    for (int64_t c = 0; c < cols; ++c) put_element(y.values, r, c, values[c]);
    return;
  }
  for (int64_t g = 0; g < y.num_groups(); ++g) {
    const int64_t begin = g * y.group;
    const int64_t end = std::min(begin + y.group, cols);
    const Int8Scale scale = int8_scale(max_abs(values + begin, end - begin));
    int32_t sum = 0;
    for (int64_t c = begin; c < end; ++c) sum += y.values.row<int8_t>(r)[c] = int8_value(values[c], scale);
    y.scales[r * y.num_groups() + g] = scale.scale;
    if (y.sums != nullptr) y.sums[r * y.num_groups() + g] = sum;
  }
}

float gelu(float x) {
  return static_cast<float>(0.5 * x * std::erfc(-double{x} * std::sqrt(0.5)));
}

void linear(const LinearArgs& args) {
  const auto& weight = static_cast<const ReferenceLinear&>(*args.weight);
  std::vector<float> y(weight.rows);
  for (int64_t r = 0; r < *args.rows.count; ++r) {
    project_row(weight, args.x, r, y.data());
    if (args.epilogue == Epilogue::kGelu) std::ranges::transform(y, y.begin(), gelu);
    store_row(y.data(), args.y, r);
  }
}

void gate_up_silu(const GateUpSiluArgs& args) {
  const auto& weight = static_cast<const ReferenceLinear&>(*args.weight);
  const int64_t half = weight.rows / 2;
  std::vector<float> y(weight.rows);
  for (int64_t r = 0; r < *args.rows.count; ++r) {
    project_row(weight, args.x, r, y.data());
    for (int64_t c = 0; c < half; ++c) y[c] = silu(y[c]) * y[half + c];
    store_row(y.data(), args.y, r);
  }
}

}  // namespace glimpse::reference
