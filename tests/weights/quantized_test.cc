// Quantised checkpoints against the floats that PyTorch wrote beside them (python/reference/make_quantized.py):
// exactly.

#include "weights/quantized.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/weights/fixtures.h"
#include "weights/checkpoint.h"

namespace glimpse {
namespace {

constexpr int64_t kRows = 48;
constexpr int64_t kCols = 256;
const std::string kLayer = "model.language_model.layers.0.mlp.down_proj";

std::string golden(const std::string& name) {
  return std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/quantized/" + name;
}

Result<QuantizationConfig> config_of(const std::string& text) {
  return parse_quantization_config(parse_json(text)->get_object());
}

Result<QuantizationConfig> golden_config(const std::string& name) {
  std::ifstream file(golden(name) + "/config.json");
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return parse_quantization_config(parse_json(text)->get_object().at("quantization_config").get_object());
}

struct Case {
  std::string name;
  std::string summary;
  StoredFormat::Kind kind;
  int64_t group;
  bool zero_points = false;
  bool act_order = false;
  bool row_scales = true;
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
  return out << c.name;
}

class Golden : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    auto checkpoint = Checkpoint::open(golden(GetParam().name));
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    stored = std::make_shared<Checkpoint>(std::move(*checkpoint));
    const auto config = golden_config(GetParam().name);
    ASSERT_TRUE(config) << config.error().message;
    auto created = QuantizedSource::create(stored, *config);
    ASSERT_TRUE(created) << created.error().message;
    source = std::move(*created);
    expected.resize(kRows * kCols);
    ASSERT_TRUE(stored->get({"expected", {kRows, kCols}})->read_rows(0, kRows, std::span<float>(expected)));
  }

  WeightTensor weight() const { return *source->get({kLayer + ".weight", {kRows, kCols}}); }

  std::shared_ptr<const WeightSource> stored;
  std::unique_ptr<QuantizedSource> source;
  std::vector<float> expected;
};

TEST_P(Golden, RowsMeanWhatPyTorchSays) {
  std::vector<float> rows(kRows * kCols);
  ASSERT_TRUE(weight().read_rows(0, kRows, std::span<float>(rows)));
  EXPECT_EQ(rows, expected);
  // Any range, in any order.
  for (const int64_t first : {int64_t{3}, int64_t{41}, int64_t{0}, kRows - 1}) {
    const int64_t count = std::min<int64_t>(7, kRows - first);
    std::vector<float> some(static_cast<size_t>(count * kCols));
    ASSERT_TRUE(weight().read_rows(first, count, std::span<float>(some)));
    EXPECT_TRUE(std::equal(some.begin(), some.end(), expected.begin() + first * kCols)) << first;
    std::vector<bf16> rounded(some.size());
    ASSERT_TRUE(weight().read_rows(first, count, std::span<bf16>(rounded)));
    for (size_t i = 0; i < some.size(); ++i) ASSERT_EQ(rounded[i].bits, to_bf16(some[i]).bits);
  }
}

TEST_P(Golden, OnlyTheWeightRemainsOfALayersTensors) {
  ASSERT_EQ(source->tensors().size(), 3U);  // and "expected" and a norm
  EXPECT_NE(source->find(kLayer + ".weight"), nullptr);
  EXPECT_NE(source->find("model.language_model.norm.weight"), nullptr);
  EXPECT_EQ(source->summary(), GetParam().summary);
  const auto norm = source->get({"model.language_model.norm.weight", {8}});
  ASSERT_TRUE(norm);
  std::vector<float> ones(8);
  ASSERT_TRUE(norm->read_rows(0, 1, std::span<float>(ones)));
  EXPECT_EQ(ones, std::vector<float>(8, 1.0f));
  EXPECT_FALSE(norm->stored_format());
}

TEST_P(Golden, StoredIntegersMeanTheSame) {
  const auto format = weight().stored_format();
  ASSERT_TRUE(format);
  EXPECT_EQ(format->kind, GetParam().kind);
  EXPECT_EQ(format->group, GetParam().group);
  EXPECT_EQ(format->zero_points, GetParam().zero_points);
  EXPECT_EQ(format->act_order, GetParam().act_order);
  EXPECT_EQ(format->row_scales, GetParam().row_scales);
  const int64_t first = 5;
  const int64_t count = 11;
  std::vector<uint8_t> values(count * kCols);
  const int64_t groups = kCols / format->group;
  std::vector<float> scales(static_cast<size_t>(count * groups));
  std::vector<uint8_t> zeros(scales.size());
  if (format->kind == StoredFormat::Kind::kInt4 && !format->act_order) {
    ASSERT_TRUE(weight().read_int4(first, count, {values.data(), scales.data(), zeros.data()}));
    for (int64_t i = 0; i < count * kCols; ++i) {
      const auto g = static_cast<size_t>(i / kCols * groups + i % kCols / format->group);
      ASSERT_LT(values[static_cast<size_t>(i)], 16);
      const float value = static_cast<float>(values[static_cast<size_t>(i)] - zeros[g]) * scales[g];
      ASSERT_EQ(value, expected[static_cast<size_t>(first * kCols + i)]) << i;
      if (!format->zero_points) {
        ASSERT_EQ(zeros[g], 8);
      }
    }
  }
  if (format->kind == StoredFormat::Kind::kF8 && format->group == kCols) {
    ASSERT_TRUE(weight().read_f8(first, count, {values.data(), scales.data()}));
    // 448 is 0x7e, 1 is 0x38, -0.5 is 0xb0: the largest value of the row decides between them and garbage.
    float most = 0;
    for (int64_t c = 0; c < kCols; ++c)
      most = std::max(most, std::abs(expected[static_cast<size_t>(first * kCols + c)]));
    EXPECT_LE(most, 448.0f * scales[0]);
    EXPECT_GT(most, 100.0f * scales[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Formats, Golden,
    testing::Values(
        Case{"gptq", "1 linear layer of int4 in groups of 128, gptq", StoredFormat::Kind::kInt4, 128},
        Case{"gptq-zeros", "1 linear layer of int4 in groups of 128 with zero points, gptq", StoredFormat::Kind::kInt4,
             128, true},
        Case{"gptq-v2-order", "1 linear layer of int4 in groups of 64 in activation order with zero points, gptq",
             StoredFormat::Kind::kInt4, 64, true, true},
        Case{"gptq-int8", "1 linear layer of int8 in groups of 128, gptq", StoredFormat::Kind::kInt8, 128},
        Case{"awq", "1 linear layer of int4 in groups of 128 with zero points, awq", StoredFormat::Kind::kInt4, 128,
             true},
        Case{"packed-int4", "1 linear layer of int4 in groups of 128, compressed-tensors", StoredFormat::Kind::kInt4,
             128},
        Case{"packed-int4-zeros", "1 linear layer of int4 in groups of 32 with zero points, compressed-tensors",
             StoredFormat::Kind::kInt4, 32, true},
        Case{"packed-int8", "1 linear layer of int8 in groups of 128, compressed-tensors", StoredFormat::Kind::kInt8,
             128},
        Case{"fp8-channel", "1 linear layer of fp8 with a scale per row, compressed-tensors", StoredFormat::Kind::kF8,
             256},
        Case{"fp8-tensor", "1 linear layer of fp8 with one scale, compressed-tensors", StoredFormat::Kind::kF8, 256},
        Case{"fp8-block", "1 linear layer of fp8 in blocks of 48x128, fp8", StoredFormat::Kind::kF8, 128},
        Case{"int8", "1 linear layer of int8 with a scale per row, compressed-tensors", StoredFormat::Kind::kInt8,
             256}),
    [](const auto& test) {
      std::string name = test.param.name;
      std::replace(name.begin(), name.end(), '-', '_');
      return name;
    });

TEST(QuantizationConfig, UnreadMethodsAreNamed) {
  const auto expect = [](const std::string& text, const std::string& part) {
    const auto config = config_of(text);
    ASSERT_FALSE(config) << text;
    EXPECT_NE(config.error().message.find(part), std::string::npos) << config.error().message;
  };
  expect(R"({"quant_method":"bitsandbytes"})", "\"bitsandbytes\" are not read");
  expect(R"({})", "unnamed method");
  expect(R"({"quant_method":"gptq","bits":3})", "3 bits");
  expect(R"({"quant_method":"gptq","bits":"four"})", "bits");
  expect(R"({"quant_method":"gptq","group_size":0})", "group_size");
  expect(R"({"quant_method":"gptq","checkpoint_format":"marlin"})", "marlin");
  expect(R"({"quant_method":"awq","bits":8})", "8 bits");
  expect(R"({"quant_method":"awq","version":"gemv"})", "gemv");
  expect(R"({"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized"})", "nvfp4");
  expect(R"({"quant_method":"compressed-tensors","sparsity_config":{"format":"sparse-24-bitmask"}})", "sparse");
}

// One GPTQ layer of 8 rows and 8 columns, in one group; `zero` in every field of qzeros.
std::string gptq_file(const std::string& zeros_shape, char zero, const std::string& scales_shape = "[1,8]") {
  const std::string header = R"({"l.qweight":{"dtype":"I32","shape":[1,8],"data_offsets":[0,32]},)"
                             R"("l.qzeros":{"dtype":"I32","shape":)" +
                             zeros_shape + R"(,"data_offsets":[32,36]},"l.scales":{"dtype":"F16","shape":)" +
                             scales_shape + R"(,"data_offsets":[36,52]}})";
  return safetensors_file(header, std::string(32, '\0') + std::string(4, zero) + std::string(16, '\0'));
}

Result<std::unique_ptr<QuantizedSource>> open_gptq(const std::string& file, const std::string& more = "") {
  const auto config = config_of(R"({"quant_method":"gptq","bits":4,"group_size":-1)" + more + "}");
  auto checkpoint = Checkpoint::open(FileSet::from_memory("(memory)", {{"model.safetensors", as_bytes(file)}}));
  if (!checkpoint) return std::move(checkpoint).error();
  return QuantizedSource::create(std::make_shared<Checkpoint>(std::move(*checkpoint)), *config);
}

TEST(QuantizedSource, TensorsThatDoNotFitAreNamed) {
  const std::string sound = gptq_file("[1,1]", '\x77');
  EXPECT_TRUE(open_gptq(sound));
  for (const auto& [zeros, scales] :
       {std::pair{"[1]", "[1,8]"}, std::pair{"[1,1]", "[8]"}, std::pair{"[1,1]", "[2,4]"}}) {
    const std::string file = gptq_file(zeros, '\x77', scales);
    const auto source = open_gptq(file);
    ASSERT_FALSE(source) << zeros << scales;
    EXPECT_EQ(source.error().code, ErrorCode::kInvalidData);
    EXPECT_NE(source.error().message.find("does not fit"), std::string::npos) << source.error().message;
  }
  const std::string lonely =
      safetensors_file(R"({"l.qweight":{"dtype":"I32","shape":[1,8],"data_offsets":[0,32]}})", std::string(32, '\0'));
  const auto source = open_gptq(lonely);
  ASSERT_FALSE(source);
  EXPECT_NE(source.error().message.find("\"l.scales\" is missing"), std::string::npos) << source.error().message;
}

TEST(QuantizedSource, AZeroPointThatContradictsTheConfigIsAnError) {
  const std::string file = gptq_file("[1,1]", '\x55');
  const auto symmetric = open_gptq(file);
  ASSERT_TRUE(symmetric);
  std::vector<float> rows(64);
  const auto status = (*symmetric)->get({"l.weight", {8, 8}})->read_rows(0, 8, std::span<float>(rows));
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("zero point is 6, not 8"), std::string::npos) << status.error().message;
  const auto asymmetric = open_gptq(file, R"(,"sym":false)");
  ASSERT_TRUE(asymmetric);
  EXPECT_TRUE((*asymmetric)->get({"l.weight", {8, 8}})->read_rows(0, 8, std::span<float>(rows)));
}

}  // namespace
}  // namespace glimpse
