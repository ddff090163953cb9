// Quantised layers on their way from a source to the CPU back end: their form, their values, their errors.

#include "model/loader.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/ops.h"
#include "model/tensors.h"

namespace glimpse {
namespace {

constexpr int64_t kHidden = 256;
constexpr int64_t kGroup = 128;

TextConfig small_config() {
  TextConfig config;
  config.vocab_size = 64;
  config.hidden_size = kHidden;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 2;
  config.num_key_value_heads = 1;
  config.head_dim = 128;
  config.intermediate_size = 256;
  return config;
}

// Projections of a text model as int4, all else as floats. Every value depends on its tensor's name and place.
class FakeSource final : public WeightSource {
 public:
  explicit FakeSource(std::vector<TensorInfo> tensors) : WeightSource(std::move(tensors)) {}

  static std::shared_ptr<FakeSource> create(const TextConfig& text) {
    ModelConfig config;
    config.text = text;
    std::vector<TensorInfo> infos;
    for (const TensorSpec& spec : expected_tensors(config)) {
      if (!spec.name.starts_with("model.visual"))
        infos.push_back({.name = spec.name, .shape = spec.shape, .file = "f"});
    }
    std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return std::make_shared<FakeSource>(std::move(infos));
  }

  std::string label() const override { return "fake"; }

  bool quantized(size_t index) const {
    const std::string& name = tensors()[index].name;
    return name.ends_with("_proj.weight") && (plain_layer.empty() || name.find(plain_layer) == name.npos);
  }
  uint8_t value(size_t index, int64_t row, int64_t col) const {
    return static_cast<uint8_t>((std::hash<std::string>()(tensors()[index].name) + row * 7 + col * 5 + row * col) % 16);
  }
  float scale(int64_t row, int64_t group) const {
    return to_float(to_f16(0.01f + 0.001f * static_cast<float>(row % 5) + 0.002f * static_cast<float>(group)));
  }
  int zero(int64_t row) const { return zero_points ? static_cast<int>(row % 16) : 8; }
  float meaning(size_t index, int64_t row, int64_t col) const {
    return static_cast<float>(value(index, row, col) - zero(row)) * scale(row, col / kGroup);
  }
  size_t index_of(const std::string& name) const { return static_cast<size_t>(find(name) - tensors().data()); }

  std::optional<StoredFormat> stored_format(size_t index) const override {
    if (!quantized(index)) return std::nullopt;
    return StoredFormat{.kind = StoredFormat::Kind::kInt4, .group = kGroup, .zero_points = zero_points};
  }

  bool zero_points = false;
  bool fails = false;
  std::string plain_layer;  // part of the name of a projection that is not quantised

 private:
  template <typename T>
  Status fill(size_t index, int64_t first, std::span<T> out) const {
    if (fails && quantized(index))
      return Error{ErrorCode::kInvalidData, tensors()[index].name + ": contradicts itself"};
    const int64_t cols = tensors()[index].shape.back();
    for (size_t i = 0; i < out.size(); ++i) {
      const int64_t at = first + static_cast<int64_t>(i);
      const float v = quantized(index) ? meaning(index, at / cols, at % cols) : 0.01f * static_cast<float>(at % 7);
      if constexpr (std::is_same_v<T, float>) {
        out[i] = v;
      } else {
        out[i] = to_bf16(v);
      }
    }
    return {};
  }
  Status read(size_t index, int64_t first, std::span<float> out) const override { return fill(index, first, out); }
  Status read(size_t index, int64_t first, std::span<bf16> out) const override { return fill(index, first, out); }
  std::span<const std::byte> bytes(size_t) const override { return {}; }
  void drop(size_t, int64_t, int64_t) const override {}
};

class QuantizedLoader : public testing::Test {
 protected:
  Result<TextWeights> load(DType dtype = DType::kBF16) {
    return load_text_weights(*backend, config, source, {.dtype = dtype});
  }

  // Row c of the result is column c of W: products with unit vectors, which int8 activations hold exactly.
  std::vector<float> columns(const PackedLinear& weight, const std::vector<int64_t>& wanted) {
    const auto count = static_cast<int32_t>(wanted.size());
    const auto stream = backend->make_stream();
    std::vector<int8_t> values(static_cast<size_t>(count * weight.cols));
    std::vector<float> scales(static_cast<size_t>(count * weight.cols / weight.group), 1.0f);
    std::vector<int32_t> sums(scales.size());
    for (int32_t r = 0; r < count; ++r) {
      values[static_cast<size_t>(r * weight.cols + wanted[static_cast<size_t>(r)])] = 1;
      sums[static_cast<size_t>((r * weight.cols + wanted[static_cast<size_t>(r)]) / weight.group)] = 1;
    }
    std::vector<float> y(static_cast<size_t>(count * weight.rows));
    const LinearArgs args{.rows = {.count = &count, .capacity = count},
                          .x = {.values = {values.data(), DType::kI8, count, weight.cols, weight.cols},
                                .scales = scales.data(),
                                .sums = sums.data(),
                                .group = weight.group},
                          .weight = &weight,
                          .y = {.values = {y.data(), DType::kF32, count, weight.rows, weight.rows}}};
    EXPECT_TRUE(stream->reserve_workspace(backend->ops().linear_workspace(args)));
    linear(args, *stream);
    stream->synchronize();
    return y;
  }

  TextConfig config = small_config();
  std::shared_ptr<FakeSource> source = FakeSource::create(config);
  std::unique_ptr<Backend> backend = *make_cpu_backend({.num_threads = 2});
};

TEST_F(QuantizedLoader, HeadInEightBitsWhereItIsWanted) {
  const auto weights = load_text_weights(*backend, config, source, {.quantize_head = true});
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->lm_head->format, WeightFormat::kI8);
  EXPECT_EQ(weights->layers[1].down_proj->format, WeightFormat::kI4);
}

TEST_F(QuantizedLoader, SymmetricInt4KeepsItsValues) {
  const auto weights = load();
  ASSERT_TRUE(weights) << weights.error().message;
  const PackedLinear& down = *weights->layers[1].down_proj;
  EXPECT_EQ(down.format, WeightFormat::kI4);
  EXPECT_EQ(down.group, kGroup);
  EXPECT_EQ(weights->lm_head->format, WeightFormat::kBF16);
  const size_t index = source->index_of("model.language_model.layers.1.mlp.down_proj.weight");
  const std::vector<int64_t> wanted = {0, 1, 127, 128, 255};
  const std::vector<float> y = columns(down, wanted);
  for (size_t c = 0; c < wanted.size(); ++c) {
    for (int64_t row = 0; row < down.rows; ++row) {
      const float expected = source->meaning(index, row, wanted[c]);
      ASSERT_NEAR(y[c * static_cast<size_t>(down.rows) + static_cast<size_t>(row)], expected,
                  1e-6f * std::fabs(expected))
          << row << " " << wanted[c];
    }
  }
}

TEST_F(QuantizedLoader, ZeroPointsBecomeInt8) {
  source->zero_points = true;
  const auto weights = load();
  ASSERT_TRUE(weights) << weights.error().message;
  const PackedLinear& o = *weights->layers[0].o_proj;
  EXPECT_EQ(o.format, WeightFormat::kI8);
  const size_t index = source->index_of("model.language_model.layers.0.self_attn.o_proj.weight");
  const std::vector<float> y = columns(o, {3});
  for (int64_t row = 0; row < o.rows; ++row) {
    // Within half a step of the row's int8 scale: at most 15 * 0.016 / 127 / 2.
    ASSERT_NEAR(y[static_cast<size_t>(row)], source->meaning(index, row, 3), 0.001f) << row;
  }
}

TEST_F(QuantizedLoader, Float32Dequantises) {
  const auto weights = load(DType::kF32);
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->layers[0].qkv_proj->format, WeightFormat::kF32);
}

TEST_F(QuantizedLoader, LayersOfSeveralKindsAreDequantised) {
  source->plain_layer = "layers.1.mlp.gate_up_proj";
  const auto weights = load();
  ASSERT_TRUE(weights) << weights.error().message;
  EXPECT_EQ(weights->layers[0].qkv_proj->format, WeightFormat::kBF16);
  EXPECT_EQ(weights->layers[1].down_proj->format, WeightFormat::kBF16);
}

TEST_F(QuantizedLoader, AContradictionIsAnError) {
  source->fails = true;
  const auto weights = load();
  ASSERT_FALSE(weights);
  EXPECT_NE(weights.error().message.find("contradicts itself"), std::string::npos) << weights.error().message;
}

}  // namespace
}  // namespace glimpse
