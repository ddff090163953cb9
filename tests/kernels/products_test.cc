// linear and gate_up_silu through the op table, on every back end, against the reference's float64 sums.
//
// Limit of one element: float32 sums of K products in any order are off by at most K 2^-24 sum |w x|, taken twice; a
// step of the output's dtype; and, where a back end keeps [gate | up] in bfloat16 in between (before the bias is
// added), a step of those.

#include <array>
#include <cmath>
#include <cstdio>
#include <initializer_list>

#include "kernels/elements.h"
#include "tests/kernels/rig.h"

namespace glimpse::testing {
namespace {

struct ProductCase {
  int64_t m, n, k;
  WeightFormat format = WeightFormat::kBF16;
  bool bias = false;
  bool gated = false;
  Epilogue epilogue = Epilogue::kNone;
  DType out = DType::kF32;
  int64_t padding = 8;  // columns behind each row: 8 keeps rows aligned to vectors, 3 does not
};

std::string describe(const ProductCase& c) {
  return std::to_string(c.m) + " x " + std::to_string(c.n) + " x " + std::to_string(c.k) + " format " +
         std::to_string(static_cast<int>(c.format)) + (c.bias ? " bias" : "") + (c.gated ? " gated" : "") +
         (c.epilogue == Epilogue::kGelu ? " gelu" : "") + " to " + std::string(dtype_name(c.out)) + " padding " +
         std::to_string(c.padding);
}

struct Values {
  std::vector<float> x, weight, bias;
};

std::vector<float> run(Rig& rig, const ProductCase& c, const Values& v, DType out) {
  const auto packed = rig.pack({.name = "product",
                                .rows = c.n,
                                .cols = c.k,
                                .consumer = c.gated ? LinearConsumer::kGateUp : LinearConsumer::kPlain,
                                .format = c.format,
                                .bias = v.bias},
                               v.weight);
  const int64_t capacity = c.m + 2;
  std::vector<float> x = v.x;
  x.resize(static_cast<size_t>(capacity * c.k), 1.0f);
  const DType in = packed->input_dtype();
  const Activation input{.values = rig.matrix(in, capacity, c.k, x, c.padding)};
  const Activation output{.values = rig.matrix(out, capacity, c.gated ? c.n / 2 : c.n, {}, c.padding)};
  const Rows rows = rig.rows(static_cast<int32_t>(c.m), static_cast<int32_t>(capacity));
  if (c.gated) {
    const GateUpSiluArgs args{.rows = rows, .x = input, .weight = packed.get(), .y = output};
    EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().gate_up_silu_workspace(args)));
    gate_up_silu(args, rig.stream());
  } else {
    const LinearArgs args{.rows = rows, .x = input, .weight = packed.get(), .epilogue = c.epilogue, .y = output};
    EXPECT_TRUE(rig.stream().reserve_workspace(rig.ops().linear_workspace(args)));
    linear(args, rig.stream());
  }
  return rig.read(output, c.m);
}

void check(const ProductCase& c, uint32_t seed) {
  const DType dtype = c.format == WeightFormat::kF32 ? DType::kF32 : DType::kBF16;
  const Values v{.x = rounded_to(dtype, normal_values(static_cast<size_t>(c.m * c.k), seed)),
                 .weight = rounded_to(dtype, normal_values(static_cast<size_t>(c.n * c.k), seed + 1, 0.1f)),
                 .bias = c.bias ? normal_values(static_cast<size_t>(c.n), seed + 2) : std::vector<float>()};
  // What each sum is made of, in float64.
  std::vector<double> sums(static_cast<size_t>(c.m * c.n));
  std::vector<double> plain(sums.size());  // without the bias
  std::vector<double> slack(sums.size());
  for (int64_t r = 0; r < c.m; ++r) {
    for (int64_t n = 0; n < c.n; ++n) {
      double sum = c.bias ? v.bias[static_cast<size_t>(n)] : 0;
      double size = std::fabs(sum);
      for (int64_t k = 0; k < c.k; ++k) {
        const double term = double{v.x[static_cast<size_t>(r * c.k + k)]} * v.weight[static_cast<size_t>(n * c.k + k)];
        sum += term;
        size += std::fabs(term);
      }
      sums[static_cast<size_t>(r * c.n + n)] = sum;
      plain[static_cast<size_t>(r * c.n + n)] = std::fabs(c.bias ? sum - v.bias[static_cast<size_t>(n)] : sum);
      slack[static_cast<size_t>(r * c.n + n)] = 2 * 0x1p-24 * static_cast<double>(c.k + 1) * size;
    }
  }
  const int64_t outputs = c.gated ? c.n / 2 : c.n;
  std::vector<float> expected, limits;
  for (int64_t r = 0; r < c.m; ++r) {
    for (int64_t n = 0; n < outputs; ++n) {
      const auto at = static_cast<size_t>(r * c.n + n);
      double value = sums[at];
      double limit = slack[at];
      if (c.gated) {
        const auto up = static_cast<size_t>(r * c.n + outputs + n);
        const double silu = sums[at] / (1 + std::exp(-sums[at]));
        const double between = dtype == DType::kBF16 ? 0x1p-8 : 0;  // of each of the two
        value = silu * sums[up];
        limit = 1.1 * (slack[at] + between * plain[at]) * std::fabs(sums[up]) +
                std::fabs(silu) * (slack[up] + between * plain[up]) + 0x1p-19 * std::fabs(value);
      } else if (c.epilogue == Epilogue::kGelu) {
        value = 0.5 * value * std::erfc(-value * std::sqrt(0.5));
        limit = 1.13 * limit + 3e-7 * std::fabs(sums[at]);
      }
      expected.push_back(static_cast<float>(value));
      const double step = c.out == DType::kBF16 ? 0x1p-8 : 0x1p-23;
      limits.push_back(static_cast<float>(limit + step * std::fabs(value) + 1e-30));
    }
  }
  double worst = 0;
  for (const Target& target : targets()) {
    Rig rig(target);
    worst =
        std::max(worst, expect_close(target.name + " " + describe(c), seed, run(rig, c, v, c.out), expected, limits));
  }
  std::printf("%s: at most %.3f of the limit\n", describe(c).c_str(), worst);
}

void check_batches(std::initializer_list<int64_t> rows) {
  uint32_t seed = 1;
  for (const int64_t m : rows) {
    check({.m = m, .n = 136, .k = 512, .out = m % 2 == 0 ? DType::kBF16 : DType::kF32}, seed++);
    check({.m = m, .n = 272, .k = 256, .gated = true, .out = DType::kBF16}, seed++);
  }
}

// The tests whose names begin with Few or Gated run no kernel of a library (scripts/gpu_sanitize.sh).
TEST(Products, FewRows) {
  check_batches({1, 2, 3, 4, 5, 8, 9, 14});
}

// Enough that each place of a kernel's rings is used again.
TEST(Products, FewRowsOfLargeWeights) {
  check({.m = 6, .n = 20'000, .k = 2048, .out = DType::kBF16}, 50);
  check({.m = 14, .n = 9'600, .k = 2048, .gated = true, .out = DType::kBF16}, 51);
}

TEST(Products, SmallBatches) {
  check_batches({15, 16, 17, 33});
}

TEST(Products, OddShapesAndAddresses) {
  uint32_t seed = 100;
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16}) {
    for (const int64_t n : {1, 7, 64, 130}) {
      for (const int64_t k : {1, 31, 64, 129}) {
        check({.m = 3, .n = n, .k = k, .format = format, .bias = n % 2 == 0, .padding = 3}, seed++);
      }
    }
    check({.m = 70, .n = 66, .k = 65, .format = format, .bias = true, .padding = 3}, seed++);
    check({.m = 5, .n = 66, .k = 40, .format = format, .bias = true, .gated = true, .padding = 3}, seed++);
  }
}

TEST(Products, LargeBatchesAndEpilogues) {
  uint32_t seed = 200;
  for (const bool bias : {false, true}) {
    check({.m = 130, .n = 256, .k = 384, .bias = bias, .out = DType::kBF16}, seed++);
    check({.m = 257, .n = 128, .k = 64, .bias = bias, .epilogue = Epilogue::kGelu, .out = DType::kBF16}, seed++);
    check({.m = 64, .n = 64, .k = 4096, .bias = bias}, seed++);
  }
}

// Tiles that are not full, in every direction.
TEST(Products, GatedOfManyRows) {
  uint32_t seed = 300;
  for (const bool bias : {false, true}) {
    for (const auto& [m, n, k] :
         {std::array<int64_t, 3>{17, 16, 8}, {64, 272, 256}, {129, 512, 128}, {300, 432, 200}, {700, 2000, 72}}) {
      check({.m = m, .n = n, .k = k, .bias = bias, .gated = true, .out = DType::kBF16}, seed++);
    }
  }
}

}  // namespace
}  // namespace glimpse::testing
