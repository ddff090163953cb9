// Products against a plain float64 loop over the values that packed weights and activations stand for.
//
// Tolerance of one element: sums of products in float32, in any order, are off by at most
// K * 2^-24 * sum |w x| ("the plain loop's own error" bound; errors of real sums grow with sqrt K, so it is not tight
// but cannot fail by chance), taken twice, plus one ulp of the output's dtype. Integer sums inside a group are exact.

#include "kernels/cpu/matmul.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/pack.h"
#include "kernels/quantization.h"

namespace glimpse::cpu {
namespace {

std::vector<CpuIsa> isas() {
  std::vector<CpuIsa> all;
  for (int isa = 0; isa <= detect_isa(); ++isa) all.push_back(static_cast<CpuIsa>(isa));
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
  std::vector<std::byte> workspace_ = std::vector<std::byte>((size_t{16} << 20) + 64);

  // With room for any product of these tests.
  Context context(CpuIsa isa) {
    auto* aligned = workspace_.data() + (64 - reinterpret_cast<uintptr_t>(workspace_.data()) % 64);
    return {.pool = pool_, .isa = isa, .workspace = aligned, .workspace_bytes = workspace_.size() - 64};
  }

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

TEST_F(MatmulTest, Epilogues) {
  for (const CpuIsa isa : isas()) {
    for (const WeightFormat format : kFormats) {
      uint32_t turn = 0;
      for (const int64_t m : {1, 6, 7, 129}) {
        for (const int64_t outputs : {1, 31, 32, 33, 64, 130, 300}) {
          for (const DType output : {DType::kF32, DType::kBF16, DType::kI8}) {
            ++turn;
            Case c{.format = format,
                   .m = m,
                   .n = outputs,
                   .k = 96,
                   .group = turn % 2 == 0 ? 32 : 128,
                   .bias = turn % 3 != 0,
                   .epilogue = Epilogue::kGelu,
                   .output = output};
            run(c, isa);
            c.epilogue = Epilogue::kNone;
            c.consumer = LinearConsumer::kGateUp;
            c.n = 2 * outputs;
            run(c, isa);
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

TEST_F(MatmulTest, HugeMagnitudes) {
  for (const CpuIsa isa : isas()) {
    for (const WeightFormat format : kFormats) {
      // Weights near 5e2 * 0.05 (int4 scales are float16) and x near 1e15; sums near 1e18 and, gated, products near
      // 1e36.
      run({.format = format, .m = 7, .n = 66, .k = 257, .scale = 5e2f}, isa);
      run({.format = format, .m = 7, .n = 66, .k = 257, .consumer = LinearConsumer::kGateUp, .scale = 5e2f}, isa);
    }
  }
}

// Columns in blocks (more of them than one block holds, in every format), with a ragged end.
TEST_F(MatmulTest, LongRows) {
  for (const CpuIsa isa : isas()) {
    for (const WeightFormat format : kFormats) {
      for (const int64_t k : {4096, 8192 + 128 + 3}) {
        for (const int64_t m : {1, 13, 50}) run({.format = format, .m = m, .n = 20, .k = k, .bias = true}, isa);
      }
    }
  }
}

// The values that a plain run of `c` leaves in y, float32.
std::vector<float> values_of(const PackedLinear& weight, const std::vector<float>& x_values, int64_t m, Context ctx) {
  TestActivation x(weight.input_dtype(), m, weight.cols, weight.group);
  for (int64_t r = 0; r < m; ++r) store_row(x_values.data() + r * weight.cols, x.view, r, ctx.isa);
  std::vector<float> y(m * weight.rows);
  const Matrix out{y.data(), DType::kF32, m, weight.rows, weight.rows};
  project(weight, x.view, m, out, ctx, ctx.workspace);
  return y;
}

// A row's result does not depend on the rows beside it, to the last bit.
TEST_F(MatmulTest, RowsAreIndependent) {
  for (const CpuIsa isa : isas()) {
    for (const WeightFormat format : kFormats) {
      const Case c{.format = format, .m = 129, .n = 96, .k = 2500};
      const auto weight = pack(c, isa, random_values(c.n * c.k, 0.05f, 1), {});
      const auto x = random_values(c.m * c.k, 1, 2);
      const auto all = values_of(*weight, x, c.m, context(isa));
      for (const int64_t m : {1, 5, 8, 16, 17, 33, 40}) {
        const auto some = values_of(*weight, x, m, context(isa));
        EXPECT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0)
            << describe(c, isa) << " at " << m << " rows";
      }
    }
  }
}

// Rows that lie side by side may be multiplied where they are, whole tiles of them: what the buffer holds behind the
// last one does not matter, and they give what rows of any other stride do.
TEST_F(MatmulTest, RowsBehindTheLastDoNotMatter) {
  for (const CpuIsa isa : isas()) {
    const Case c{.format = WeightFormat::kBF16, .m = 64, .n = 96, .k = 352};
    const auto weight = pack(c, isa, random_values(c.n * c.k, 0.05f, 1), {});
    const auto values = random_values(c.m * c.k, 1, 2);
    const auto expected = values_of(*weight, values, c.m, context(isa));
    for (const int64_t m : {17, 33, 40, 64}) {
      std::vector<bf16> x(static_cast<size_t>(c.m * c.k), to_bf16(std::numeric_limits<float>::quiet_NaN()));
      for (int64_t i = 0; i < m * c.k; ++i) x[static_cast<size_t>(i)] = to_bf16(values[static_cast<size_t>(i)]);
      TestActivation y(DType::kF32, c.m, c.n, 128);
      const auto rows = static_cast<int32_t>(m);
      Context ctx = context(isa);
      linear({.rows = {&rows, rows},
              .x = {.values = {x.data(), DType::kBF16, c.m, c.k, c.k}},
              .weight = weight.get(),
              .y = y.view},
             ctx);
      EXPECT_TRUE(y.padding_untouched(m)) << describe(c, isa);
      for (int64_t r = 0; r < m; ++r) {
        ASSERT_EQ(std::memcmp(y.view.values.row<float>(r), expected.data() + r * c.n, c.n * sizeof(float)), 0)
            << describe(c, isa) << " row " << r << " of " << m;
      }
    }
  }
}

// Products of few rows that pass several panels at once, the last of them alone, with a ragged end of columns.
TEST_F(MatmulTest, StreamsGiveTheSumsOfTiles) {
  if (detect_isa() < static_cast<int>(CpuIsa::kAvx512Bf16)) GTEST_SKIP() << "this processor passes one panel at a time";
  for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    const Case c{.format = format, .m = 7, .n = 64 * 66 + 5, .k = 4096 + 128 + 3};
    const auto weight = pack(c, CpuIsa::kAvx512Bf16, random_values(c.n * c.k, 0.05f, 1), {});
    const auto x = random_values(c.m * c.k, 1, 2);
    const auto all = values_of(*weight, x, c.m, context(CpuIsa::kAvx512Bf16));
    for (int64_t m = 1; m < c.m; ++m) {
      const auto some = values_of(*weight, x, m, context(CpuIsa::kAvx512Bf16));
      EXPECT_EQ(std::memcmp(some.data(), all.data(), some.size() * sizeof(float)), 0)
          << describe(c, CpuIsa::kAvx512Bf16) << " at " << m << " rows";
    }
  }
}

// Integer sums are exact and scaled in one order, so int8 and int4 products are the same on every instruction set.
TEST_F(MatmulTest, InstructionSetsAgreeOnIntegers) {
  for (const WeightFormat format : {WeightFormat::kI8, WeightFormat::kI4}) {
    for (const int64_t m : {1, 9, 17, 70, 300}) {
      std::vector<float> first;
      for (const CpuIsa isa : isas()) {
        const Case c{.format = format, .m = m, .n = 100, .k = 1000};
        const auto weight = pack(c, isa, random_values(c.n * c.k, 0.05f, 1), {});
        const auto y = values_of(*weight, random_values(c.m * c.k, 1, 2), m, context(isa));
        if (first.empty()) first = y;
        EXPECT_EQ(std::memcmp(first.data(), y.data(), y.size() * sizeof(float)), 0) << describe(c, isa);
      }
    }
  }
}

TEST_F(MatmulTest, AdoptsWhatItPacked) {
  for (const WeightFormat format : kFormats) {
    for (const bool with_bias : {false, true}) {
      const Case c{.format = format, .m = 3, .n = 70, .k = 130, .bias = with_bias};
      const auto bias = with_bias ? random_values(c.n, 1, 2) : std::vector<float>();
      const auto packed_weight = pack(c, isas().back(), random_values(c.n * c.k, 0.05f, 1), bias);
      const auto bytes = packed_weight->bytes();
      std::vector<std::byte> memory(bytes.size() + 128);
      std::byte* copy = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64);
      std::memcpy(copy, bytes.data(), bytes.size());
      LinearSpec spec{.name = "layer", .rows = c.n, .cols = c.k, .format = format, .bias = bias};

      auto adopted = adopt_linear(spec, {copy, bytes.size()});
      ASSERT_TRUE(adopted);
      EXPECT_EQ((*adopted)->bytes().data(), copy);
      const auto x = random_values(c.m * c.k, 1, 3);
      EXPECT_EQ(values_of(**adopted, x, c.m, context(isas().back())),
                values_of(*packed_weight, x, c.m, context(isas().back())));

      EXPECT_EQ(adopt_linear(spec, {copy, bytes.size() - 1}).error().code, ErrorCode::kInvalidData);
      EXPECT_EQ(adopt_linear(spec, {}).error().code, ErrorCode::kInvalidData);
      EXPECT_NE(adopt_linear(spec, {copy + 4, bytes.size()}).error().message.find("aligned"), std::string::npos);
      copy[8] ^= std::byte{1};
      EXPECT_NE(adopt_linear(spec, {copy, bytes.size()}).error().message.find("another layer"), std::string::npos);
    }
  }
}

// silu and gelu by themselves: a product with one column.
TEST_F(MatmulTest, Activations) {
  std::vector<float> x;
  for (float v = -100; v <= 100; v += 0.037f) x.push_back(v);
  for (float v = 1e-30f; v < 1e30f; v *= 3.7f) {
    x.push_back(v);
    x.push_back(-v);
  }
  const auto m = static_cast<int64_t>(x.size());
  const auto rows = static_cast<int32_t>(m);
  for (const CpuIsa isa : isas()) {
    Context ctx = context(isa);
    std::vector<float> y(m);
    const Activation in{.values = {x.data(), DType::kF32, m, 1, 1}};
    const Activation out{.values = {y.data(), DType::kF32, m, 1, 1}};

    const auto gated = pack({.m = m, .n = 2, .k = 1, .consumer = LinearConsumer::kGateUp}, isa, {1, 0}, {0, 1});
    gate_up_silu({.rows = {&rows, rows}, .x = in, .weight = gated.get(), .y = out}, ctx);
    double worst_silu = 0;
    for (int64_t i = 0; i < m; ++i) {
      const double expected = x[i] / (1 + std::exp(-double{x[i]}));
      if (std::fabs(expected) < 4e-37) {  // e^-x overflows below -88.7, where silu is -2.6e-37
        EXPECT_LT(std::fabs(y[i]), 4e-37) << x[i];
      } else {
        worst_silu = std::max(worst_silu, std::fabs(y[i] - expected) / std::fabs(expected) * 0x1p23);
      }
    }
    EXPECT_LE(worst_silu, 4);  // 2 ulp of exp, a sum and a division

    const auto plain = pack({.m = m, .n = 1, .k = 1}, isa, {1}, {});
    linear({.rows = {&rows, rows}, .x = in, .weight = plain.get(), .epilogue = Epilogue::kGelu, .y = out}, ctx);
    double worst_gelu = 0;
    for (int64_t i = 0; i < m; ++i) {
      const double expected = 0.5 * x[i] * std::erfc(-double{x[i]} * std::sqrt(0.5));
      worst_gelu = std::max(worst_gelu, std::fabs(y[i] - expected) / std::max(1e-30, std::fabs(double{x[i]})));
    }
    EXPECT_LE(worst_gelu, 3e-7);  // 1.5e-7 of the formula, and rounding
    std::printf("isa %d: silu %.2f ulp, gelu %.2g |x|\n", static_cast<int>(isa), worst_silu, worst_gelu);
  }
}

TEST_F(MatmulTest, QuantizesByTheRule) {
  for (const int32_t group : {32, 128}) {
    for (const int64_t cols : {1, 7, 8, 31, 32, 33, 127, 128, 300}) {
      auto x = random_values(cols, 3, static_cast<uint32_t>(cols));
      if (cols > 40) std::fill(x.begin(), x.begin() + 32, 0.0f);             // a group of zeros, with groups of 32
      if (cols == 300) std::fill(x.begin() + 128, x.begin() + 256, 1e-40f);  // 127 / max overflows: zeros too
      for (const CpuIsa isa : isas()) {
        const int64_t groups = (cols + group - 1) / group;
        std::vector<int8_t> values(cols + 1, 99);
        std::vector<float> scales(groups);
        std::vector<int32_t> sums(groups);
        quantize_row(x.data(), cols, group, values.data(), scales.data(), sums.data(), isa);
        EXPECT_EQ(values[cols], 99);
        for (int64_t g = 0; g < groups; ++g) {
          const int64_t end = std::min<int64_t>(cols, (g + 1) * group);
          float max = 0;
          for (int64_t i = g * group; i < end; ++i) max = std::max(max, std::fabs(x[i]));
          const Int8Scale scale = int8_scale(max);
          EXPECT_EQ(scales[g], scale.scale);
          int32_t sum = 0;
          for (int64_t i = g * group; i < end; ++i) {
            EXPECT_EQ(values[i], int8_value(x[i], scale)) << i;
            sum += values[i];
          }
          EXPECT_EQ(sums[g], sum);
        }
      }
    }
  }
}

TEST_F(MatmulTest, StoresBfloat16AsTheScalarConversion) {
  std::vector<float> x = random_values(1000, 1, 5);
  for (const uint32_t bits : {0u, 0x80000000u, 1u, 0x8000u, 0x18000u, 0x7f7fffffu, 0x7f800000u, 0xff800000u,
                              0x7f800001u, 0x7fffffffu, 0xffffffffu, 0x3f808000u, 0x3f818000u}) {
    x.insert(x.begin() + 17, std::bit_cast<float>(bits));
  }
  const auto cols = static_cast<int64_t>(x.size());
  for (const CpuIsa isa : isas()) {
    std::vector<bf16> y(cols);
    store_row(x.data(), {.values = {y.data(), DType::kBF16, 1, cols, cols}}, 0, isa);
    for (int64_t i = 0; i < cols; ++i) EXPECT_EQ(y[i].bits, to_bf16(x[i]).bits) << x[i];
  }
}

// The searched int4 scales lose less than the plain one, on each group, and clearly so together.
TEST_F(MatmulTest, Int4ScalesBeatThePlainOne) {
  const Case c{.format = WeightFormat::kI4, .n = 64, .k = 1024};
  const auto w = random_values(c.n * c.k, 0.02f, 9);
  const auto weight = pack(c, isas().back(), w, {});
  std::vector<float> stored(w.size());
  static_cast<const Packed&>(*weight).unpack(stored.data());
  double error = 0;
  double plain_error = 0;
  for (size_t first = 0; first < w.size(); first += 128) {
    float max = 0;
    for (size_t i = first; i < first + 128; ++i) max = std::max(max, std::fabs(w[i]));
    const float scale = to_float(int4_plain_scale(max));
    for (size_t i = first; i < first + 128; ++i) {
      error += std::pow(double{w[i]} - stored[i], 2);
      plain_error += std::pow(double{w[i]} - scale * static_cast<float>(int4_value(w[i], scale)), 2);
    }
  }
  EXPECT_LT(error, 0.85 * plain_error);
  std::printf("squared error: %.3f of the plain scale's\n", error / plain_error);
}

}  // namespace
}  // namespace glimpse::cpu
