// Products against a plain float64 loop over the values that packed weights and activations stand for.
//
// Tolerance of one element: sums of products in float32, in any order, are off by at most
// K * 2^-24 * sum |w x| ("the plain loop's own error" bound; errors of real sums grow with sqrt K, so it is not tight
// but cannot fail by chance), taken twice, plus one ulp of the output's dtype. Integer sums inside a group are exact.

#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/pack.h"

namespace glimpse::cpu {
namespace {

std::vector<CpuIsa> isas() {
  std::vector<CpuIsa> all;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) all.push_back(CpuIsa::kAvx2);
  if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
    all.push_back(CpuIsa::kAvx512);
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni")) {
      all.push_back(CpuIsa::kAvx512Bf16);
    }
  }
  return all;
}

std::vector<float> random_values(size_t count, float scale, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// An activation with padding to the right of each row and guard rows below, all poisoned.
struct TestActivation {
  Activation view;
  std::vector<std::byte> data;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  TestActivation(DType dtype, int64_t rows, int64_t cols, int32_t group) {
    const int64_t stride = cols + 5;
    data.assign((rows + 1) * stride * dtype_bytes(dtype), std::byte{0x7f});
    view.values = {data.data(), dtype, rows, cols, stride};
    if (dtype == DType::kI8) {
      view.group = group;
      scales.assign((rows + 1) * view.num_groups(), 1e30f);
      sums.assign((rows + 1) * view.num_groups(), 0x7f7f7f7f);
      view.scales = scales.data();
      view.sums = sums.data();
    }
  }
  double value(int64_t r, int64_t c) const {
    switch (view.values.dtype) {
      case DType::kF32:
        return view.values.row<float>(r)[c];
      case DType::kBF16:
        return to_float(view.values.row<bf16>(r)[c]);
      default:
        return double{view.scales[r * view.num_groups() + c / view.group]} * view.values.row<int8_t>(r)[c];
    }
  }
  // The bytes that an op on `rows` rows must leave alone: right padding and later rows.
  bool padding_untouched(int64_t rows) const {
    const size_t size = dtype_bytes(view.values.dtype);
    for (size_t i = 0; i < data.size(); ++i) {
      const auto row = static_cast<int64_t>(i / (view.values.stride * size));
      const auto col = static_cast<int64_t>(i % (view.values.stride * size) / size);
      if ((row >= rows || col >= view.values.cols) && data[i] != std::byte{0x7f}) return false;
    }
    for (size_t i = rows * view.num_groups(); i < scales.size(); ++i) {
      if (scales[i] != 1e30f || sums[i] != 0x7f7f7f7f) return false;
    }
    return true;
  }
};

struct Case {
  WeightFormat format = WeightFormat::kF32;
  int64_t m = 1;
  int64_t n = 1;
  int64_t k = 1;
  int32_t group = 128;
  bool bias = false;
  LinearConsumer consumer = LinearConsumer::kPlain;
  Epilogue epilogue = Epilogue::kNone;
  DType output = DType::kF32;
  float scale = 1;
};

std::string describe(const Case& c, CpuIsa isa) {
  std::string text = "format " + std::to_string(static_cast<int>(c.format)) + " isa " +
                     std::to_string(static_cast<int>(isa)) + " m " + std::to_string(c.m) + " n " + std::to_string(c.n);
  text += " k " + std::to_string(c.k) + " group " + std::to_string(c.group) + " bias " + std::to_string(c.bias);
  text += " consumer " + std::to_string(static_cast<int>(c.consumer)) + " gelu " +
          std::to_string(static_cast<int>(c.epilogue)) + " out " + std::string(dtype_name(c.output));
  return text + " scale " + std::to_string(c.scale);
}

class MatmulTest : public testing::Test {
 protected:
  Pool pool_{3};

  Context context(CpuIsa isa) { return {.pool = pool_, .isa = isa}; }

  std::unique_ptr<PackedLinear> pack(const Case& c, CpuIsa isa, const std::vector<float>& w,
                                     const std::vector<float>& bias) {
    const LinearSpec spec{.name = "test",
                          .rows = c.n,
                          .cols = c.k,
                          .consumer = c.consumer,
                          .format = c.format,
                          .group = c.group,
                          .bias = bias};
    Context ctx = context(isa);
    auto result = pack_linear(
        spec,
        [&](int64_t first, int64_t count, float* dst) {
          std::memcpy(dst, w.data() + first * c.k, count * c.k * sizeof(float));
        },
        ctx);
    EXPECT_TRUE(result);
    return *std::move(result);
  }

  // Runs the case and returns its largest error as a fraction of the limit.
  double run(const Case& c, CpuIsa isa) {
    const auto w = random_values(c.n * c.k, 0.05f * c.scale, 1);
    const auto bias = c.bias ? random_values(c.n, c.scale, 2) : std::vector<float>();
    const auto x_values = random_values(c.m * c.k, c.scale, 3);
    const auto packed_weight = pack(c, isa, w, bias);
    std::vector<float> weight(c.n * c.k);
    static_cast<const Packed&>(*packed_weight).unpack(weight.data());

    TestActivation x(packed_weight->input_dtype(), c.m, c.k, c.group);
    for (int64_t r = 0; r < c.m; ++r) store_row(x_values.data() + r * c.k, x.view, r, isa);
    const bool gated = c.consumer == LinearConsumer::kGateUp;
    const int64_t outputs = gated ? c.n / 2 : c.n;
    TestActivation y(c.output, c.m, outputs, c.group);
    const auto rows = static_cast<int32_t>(c.m);
    Context ctx = context(isa);
    if (gated) {
      gate_up_silu({.rows = {&rows, rows}, .x = x.view, .weight = packed_weight.get(), .y = y.view}, ctx);
    } else {
      linear({.rows = {&rows, rows}, .x = x.view, .weight = packed_weight.get(), .epilogue = c.epilogue, .y = y.view},
             ctx);
    }
    EXPECT_TRUE(y.padding_untouched(c.m)) << describe(c, isa);

    double worst = 0;
    for (int64_t r = 0; r < c.m; ++r) {
      std::vector<double> sum(c.n);
      std::vector<double> slack(c.n);
      for (int64_t n = 0; n < c.n; ++n) {
        double magnitude = 0;
        for (int64_t k = 0; k < c.k; ++k) {
          const double product = double{weight[n * c.k + k]} * x.value(r, k);
          sum[n] += product;
          magnitude += std::fabs(product);
        }
        if (c.bias) sum[n] += bias[n];
        slack[n] = 2 * 0x1p-24 * (static_cast<double>(c.k) * magnitude + std::fabs(sum[n]));
      }
      for (int64_t n = 0; n < outputs; ++n) {
        double expected = sum[n];
        double limit = slack[n];
        if (gated) {  // silu' is within [-0.1, 1.1]; silu(g) itself is good to 4 ulp
          const double g = sum[n];
          const double u = sum[outputs + n];
          const double silu = g / (1 + std::exp(-g));
          expected = silu * u;
          limit = 1.1 * slack[n] * std::fabs(u) + std::fabs(silu) * slack[outputs + n] + 0x1p-21 * std::fabs(expected);
          limit += 1.1 * slack[n] * slack[outputs + n];
        } else if (c.epilogue == Epilogue::kGelu) {  // gelu' is within [-0.13, 1.13]; erf is good to 3e-7
          expected = 0.5 * sum[n] * std::erfc(-sum[n] * std::sqrt(0.5));
          limit = 1.13 * slack[n] + 3e-7 * std::fabs(sum[n]);
        }
        if (c.output == DType::kBF16) limit += std::fabs(expected) * 0x1p-8 + limit * 0x1p-8;
        if (c.output == DType::kF32) limit += std::fabs(expected) * 0x1p-23;
        if (c.output == DType::kI8) {  // half a step, and the shift of the scale
          limit += y.view.scales[r * y.view.num_groups() + n / c.group] * 0.501;
          limit += limit * 0x1p-7;
        }
        limit += 1e-37;
        const double error = std::fabs(y.value(r, n) - expected);
        if (!(error <= limit)) {
          ADD_FAILURE() << describe(c, isa) << ": row " << r << " col " << n << " expected " << expected << " actual "
                        << y.value(r, n) << " error / limit " << error / limit;
          return error / limit;
        }
        worst = std::max(worst, error / limit);
      }
      if (c.output == DType::kI8) {
        for (int64_t g = 0; g < y.view.num_groups(); ++g) {
          int32_t total = 0;
          for (int64_t n = g * c.group; n < std::min<int64_t>((g + 1) * c.group, outputs); ++n) {
            total += y.view.values.row<int8_t>(r)[n];
          }
          EXPECT_EQ(total, y.view.sums[r * y.view.num_groups() + g]) << describe(c, isa);
        }
      }
    }
    return worst;
  }
};

constexpr WeightFormat kFormats[] = {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4};

TEST_F(MatmulTest, ShapesAtEdges) {
  for (const CpuIsa isa : isas()) {
    for (const WeightFormat format : kFormats) {
      double worst = 0;
      uint32_t turn = 0;
      for (const int64_t m : {1, 2, 3, 5, 6, 7, 8, 15, 16, 17, 64, 129}) {
        for (const int64_t n : {1, 15, 16, 63, 64, 65, 200}) {
          for (const int64_t k : {1, 2, 3, 31, 32, 33, 127, 128, 129, 640}) {
            if (m * n * k > 4'000'000) continue;
            ++turn;
            worst = std::max(worst, run({.format = format,
                                         .m = m,
                                         .n = n,
                                         .k = k,
                                         .group = turn % 3 == 0 ? 32 : 128,
                                         .bias = turn % 2 == 0,
                                         .output = turn % 5 < 2   ? DType::kBF16
                                                   : turn % 5 < 4 ? DType::kF32
                                                                  : DType::kI8},
                                        isa));
            if (HasFailure()) return;
          }
        }
      }
      std::printf("isa %d format %d: worst error %.3f of the limit\n", static_cast<int>(isa), static_cast<int>(format),
                  worst);
    }
  }
}

}  // namespace
}  // namespace glimpse::cpu
