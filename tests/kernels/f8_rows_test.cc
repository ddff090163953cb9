// Activations that ops on CUDA write in e4m3, for fp8 products of more than 16 rows: against the reference's floats,
// and read by a product.
//
// A value may be off by half a step of e4m3, 2^-4 of it, or of the smallest values' step, 2^-10 of the row's scale; the
// scale is that of the reference's row but for the float32 sums in front.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>

#include "tests/kernels/rig.h"

namespace glimpse::testing {
namespace {

float f8_value(uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const auto mantissa = static_cast<float>(bits & 7);
  const float magnitude = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return (bits & 0x80) != 0 ? -magnitude : magnitude;
}

struct F8Rows {
  std::vector<float> values;  // [rows, cols]
  std::vector<float> scales;
};

class F8RowsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
    for (const Target& target : targets()) {
      if (target.cuda) rig_ = std::make_unique<Rig>(target);
    }
  }

  Activation make(int64_t cols, int64_t padding) {
    Activation a{.values = rig_->matrix(DType::kBF16, capacity_, cols, {}, padding)};
    a.scales = rig_->upload(std::vector<float>(capacity_, -1.0f));
    a.group = static_cast<int32_t>(cols);
    return a;
  }

  F8Rows read(const Activation& a) {
    const auto stride = static_cast<size_t>(a.values.stride) * 2;
    const auto cols = static_cast<size_t>(a.values.cols);
    const auto bytes = rig_->download(static_cast<const uint8_t*>(a.values.data), stride * capacity_);
    F8Rows rows{.values = {}, .scales = rig_->download(a.scales, capacity_)};
    for (size_t r = 0; r < static_cast<size_t>(capacity_); ++r) {
      if (r < static_cast<size_t>(count_)) {
        for (size_t c = 0; c < cols; ++c) rows.values.push_back(f8_value(bytes[r * stride + c]) * rows.scales[r]);
      } else {
        EXPECT_EQ(rows.scales[r], -1.0f) << "row " << r << " is behind the count";
      }
    }
    return rows;
  }

  void expect_rounded(const F8Rows& actual, const std::vector<float>& expected, size_t cols) {
    double worst = 0;
    for (size_t r = 0; r < static_cast<size_t>(count_); ++r) {
      float most = 0;
      for (size_t c = 0; c < cols; ++c) most = std::max(most, std::fabs(expected[r * cols + c]));
      EXPECT_NEAR(actual.scales[r], most / 448.0f, most / 448.0f * 1e-2f) << r;
      for (size_t c = 0; c < cols; ++c) {
        const float limit = std::max(std::fabs(expected[r * cols + c]) * 0.0626f, most / 448.0f * 0x1p-9f);
        const float error = std::fabs(actual.values[r * cols + c] - expected[r * cols + c]);
        worst = std::max(worst, double{error} / limit);
        if (!(error <= limit * 1.05f)) {
          FAIL() << r << ", " << c << ": " << actual.values[r * cols + c] << " for " << expected[r * cols + c];
        }
      }
    }
    std::printf("%zu columns: at most %.3f of the limit\n", cols, worst);
  }

  std::unique_ptr<Rig> rig_;
  int32_t count_ = 37;
  int32_t capacity_ = 40;
};

TEST_F(F8RowsTest, AddNorm) {
  for (const int32_t capacity : {40, 72}) {
    capacity_ = capacity;
    count_ = capacity - 3;
    // In one, two and four pieces a thread, and more than a block's registers hold; at odd addresses. With a residual
    // that is not fp8 models' own type the rows become e4m3 in a kernel of their own, as behind attention.
    for (const auto& [cols, padding, dtype] :
         {std::tuple{4096, 8, DType::kBF16}, std::tuple{1536, 8, DType::kBF16}, std::tuple{6144, 8, DType::kBF16},
          std::tuple{12288, 8, DType::kBF16}, std::tuple{16400, 8, DType::kBF16}, std::tuple{1110, 3, DType::kBF16},
          std::tuple{1536, 8, DType::kF32}, std::tuple{4096, 8, DType::kF32}, std::tuple{4104, 8, DType::kF32},
          std::tuple{8192, 8, DType::kF32}, std::tuple{8200, 8, DType::kF32}, std::tuple{16384, 8, DType::kF32},
          std::tuple{16400, 8, DType::kF32}, std::tuple{1110, 3, DType::kF32}}) {
      const auto count = static_cast<size_t>(capacity_ * cols);
      const auto x0 = rounded_to(DType::kBF16, normal_values(count, 1, 1, true));
      const auto branch = rounded_to(DType::kBF16, normal_values(count, 2, 3));
      const auto weight = normal_values(static_cast<size_t>(cols), 3);
      const auto run = [&](Rig& rig, DType residual, const Activation& y) {
        AddNormArgs args{.rows = rig.rows(count_, capacity_), .y = y};
        args.x = rig.matrix(residual, capacity_, cols, x0, padding);
        args.branch = rig.matrix(residual, capacity_, cols, branch, padding);
        args.weight = rig.upload(weight);
        add_norm(args, rig.stream());
      };
      Rig reference;
      const Activation expected{.values = reference.matrix(DType::kF32, capacity_, cols)};
      run(reference, DType::kF32, expected);
      const Activation actual = make(cols, padding);
      run(*rig_, dtype, actual);
      expect_rounded(read(actual), reference.read(expected.values, count_), static_cast<size_t>(cols));
    }
  }
}

TEST_F(F8RowsTest, GateUpSiluAndTheProductBehindIt) {
  for (const int32_t capacity : {40, 72}) {
    capacity_ = capacity;
    count_ = capacity - 3;
    for (const auto& [hidden, inner, padding] :
         {std::tuple{512, 1024, 16}, std::tuple{256, 6144, 16}, std::tuple{256, 13696, 16}, std::tuple{256, 208, 16},
          std::tuple{256, 1112, 4}}) {
      const auto x = rounded_to(DType::kBF16, normal_values(static_cast<size_t>(capacity_ * hidden), 4));
      // Values of e4m3, so that packing does not round them.
      const auto weights = [](int64_t rows, int64_t cols, uint32_t seed) {
        auto values = normal_values(static_cast<size_t>(rows * cols), seed);
        for (size_t i = 0; i < values.size(); ++i) {
          values[i] = std::clamp(std::nearbyint(values[i]), -3.0f, 3.0f) / 32;
          if (i % static_cast<size_t>(cols) == 0) values[i] = 3.5f / 32;  // 448 steps of the row's scale
        }
        return values;
      };
      const LinearSpec up{.name = "gate_up",
                          .rows = 2 * inner,
                          .cols = hidden,
                          .consumer = LinearConsumer::kGateUp,
                          .format = WeightFormat::kF8};
      const LinearSpec down{.name = "down", .rows = 64, .cols = inner, .format = WeightFormat::kF8};
      const auto up_values = weights(2 * inner, hidden, 5);
      const auto down_values = weights(64, inner, 6);
      const auto up_weight = rig_->pack(up, up_values);
      const auto down_weight = rig_->pack(down, down_values);

      const Activation y = make(inner, padding);
      const GateUpSiluArgs gate_up{.rows = rig_->rows(count_, capacity_),
                                   .x = {.values = rig_->matrix(DType::kBF16, capacity_, hidden, x, 8)},
                                   .weight = up_weight.get(),
                                   .y = y};
      const Activation z{.values = rig_->matrix(DType::kF32, capacity_, 64, {}, 16)};
      const LinearArgs linear_args{.rows = gate_up.rows, .x = y, .weight = down_weight.get(), .y = z};
      ASSERT_TRUE(rig_->stream().reserve_workspace(
          std::max(rig_->ops().gate_up_silu_workspace(gate_up), rig_->ops().linear_workspace(linear_args))));
      gate_up_silu(gate_up, rig_->stream());
      linear(linear_args, rig_->stream());

      // The product in front is quantised itself: only the relation of values and scales is looked at here, and what
      // the product behind makes of them.
      const F8Rows inner_rows = read(y);
      double miss = 0;
      double norm = 0;
      const auto result = rig_->read(z.values, count_);
      for (int64_t r = 0; r < count_; ++r) {
        float most = 0;
        for (int64_t c = 0; c < inner; ++c) {
          most = std::max(most, std::fabs(inner_rows.values[static_cast<size_t>(r * inner + c)]));
        }
        EXPECT_FLOAT_EQ(most, inner_rows.scales[static_cast<size_t>(r)] * 448.0f);
        for (int64_t n = 0; n < 64; ++n) {
          double sum = 0;
          for (int64_t c = 0; c < inner; ++c) {
            sum += double{inner_rows.values[static_cast<size_t>(r * inner + c)]} *
                   down_values[static_cast<size_t>(n * inner + c)];
          }
          const double error = sum - result[static_cast<size_t>(r * 64 + n)];
          miss += error * error;
          norm += sum * sum;
        }
      }
      std::printf("%d x %d: %.2e\n", hidden, inner, std::sqrt(miss / norm));
      EXPECT_LE(std::sqrt(miss / norm), 3e-3);

      // And against floats: e4m3 activations twice, each off by 0.026 in the mean of squares.
      double off = 0;
      double size = 0;
      for (int64_t r = 0; r < count_; ++r) {
        for (int64_t c = 0; c < inner; c += 13) {
          double g = 0;
          double u = 0;
          for (int64_t k = 0; k < hidden; ++k) {
            const double value = x[static_cast<size_t>(r * hidden + k)];
            g += value * up_values[static_cast<size_t>(c * hidden + k)];
            u += value * up_values[static_cast<size_t>((inner + c) * hidden + k)];
          }
          const double expected = g / (1 + std::exp(-g)) * u;
          const double error = expected - inner_rows.values[static_cast<size_t>(r * inner + c)];
          off += error * error;
          size += expected * expected;
        }
      }
      std::printf("silu(g) u: off by %.3f\n", std::sqrt(off / size));
      EXPECT_LE(std::sqrt(off / size), 0.06);
    }
  }
}

// A step of few rows, and readers that are not fp8, keep bfloat16.
TEST_F(F8RowsTest, FewRowsStayBfloat16) {
  const int64_t cols = 256;
  const auto x0 = rounded_to(DType::kBF16, normal_values(16 * cols, 7));
  Activation y{.values = rig_->matrix(DType::kBF16, 16, cols, {}, 8)};
  y.scales = rig_->upload(std::vector<float>(16, -1.0f));
  y.group = cols;
  AddNormArgs args{.rows = rig_->rows(16, 16), .y = y};
  args.x = rig_->matrix(DType::kBF16, 16, cols, x0, 8);
  args.weight = rig_->upload(std::vector<float>(cols, 1.0f));
  add_norm(args, rig_->stream());
  EXPECT_EQ(rig_->download(y.scales, 16), std::vector<float>(16, -1.0f));
  const auto rows = rig_->read(y.values, 16);
  for (int64_t r = 0; r < 16; ++r) {
    double squares = 0;
    for (int64_t c = 0; c < cols; ++c)
      squares += double{rows[static_cast<size_t>(r * cols + c)]} * rows[static_cast<size_t>(r * cols + c)];
    EXPECT_NEAR(squares / cols, 1.0, 1e-2);
  }
}

}  // namespace
}  // namespace glimpse::testing
