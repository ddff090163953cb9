// glimpse-mini with its decoder's layers in fp8 and int4, on CUDA against the CPU: the same quantised weights, there as
// floats in float32, so that what differs is how products on CUDA compute. Skipped by name where there is no device.
//
// Limits of ||logits - ref|| / ||ref||, docs/numerics.md ("CUDA products"): int4 computes in bfloat16, as plain weights
// do; fp8's prompts are rounded to e4m3 in front of each of a layer's four products, each by 0.026 in the mean of
// squares.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "engine/generator.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "image/preprocess.h"
#include "kernels/elements.h"
#include "tests/support/f8.h"
#include "tests/support/golden.h"
#include "weights/checkpoint.h"

namespace glimpse {
namespace {

const std::string kMini = std::string(GLIMPSE_SOURCE_DIR) + "/models/glimpse-mini";

json::object read_object(const std::string& path) {
  const auto text = read_file(path, size_t{1} << 20);
  EXPECT_TRUE(text) << path;
  return parse_json(*text)->as_object();
}

ModelConfig mini_config() {
  return *parse_model_config(*read_file(kMini + "/config.json", 1 << 20), "config.json");
}

// A checkpoint whose decoder layers were quantised: what the loader sees of published fp8 (a scale a row, max / 448, as
// packing to fp8 chooses it) and int4 checkpoints (groups of 128 columns).
class QuantizedLayers final : public WeightSource {
 public:
  QuantizedLayers(std::shared_ptr<const WeightSource> source, StoredFormat::Kind kind)
      : WeightSource(source->tensors()), source_(std::move(source)), kind_(kind), layers_(tensors().size()) {
    for (size_t i = 0; i < tensors().size(); ++i) {
      const TensorInfo& info = tensors()[i];
      if (info.name.starts_with("model.language_model.layers.") && info.shape.size() == 2) quantize(i);
    }
  }

  std::string label() const override { return source_->label(); }
  std::optional<StoredFormat> stored_format(size_t index) const override {
    if (layers_[index].values.empty()) return std::nullopt;
    return StoredFormat{.kind = kind_, .group = group(index)};
  }
  Status read_int4(size_t index, int64_t first, int64_t count, const Int4Rows& out) const override {
    const int64_t groups = tensor(index).row_size() / kGroup;
    std::fill_n(out.zeros, count * groups, uint8_t{8});
    return read_stored(index, first, count, groups, out.values, out.scales);
  }
  Status read_f8(size_t index, int64_t first, int64_t count, const F8Rows& out) const override {
    return read_stored(index, first, count, 1, out.values, out.scales);
  }

 private:
  static constexpr int64_t kGroup = 128;
  struct Layer {
    std::vector<uint8_t> values;
    std::vector<float> scales;
    std::vector<float> meaning;
  };

  WeightTensor tensor(size_t index) const { return {source_.get(), index}; }
  int64_t group(size_t index) const { return kind_ == StoredFormat::Kind::kF8 ? tensor(index).row_size() : kGroup; }

  void quantize(size_t index) {
    const auto width = static_cast<size_t>(group(index));
    Layer& layer = layers_[index];
    layer.meaning.resize(static_cast<size_t>(tensor(index).num_rows() * tensor(index).row_size()));
    ASSERT_TRUE(tensor(index).read_rows(0, tensor(index).num_rows(), std::span<float>(layer.meaning)));
    for (size_t first = 0; first < layer.meaning.size(); first += width) {
      float most = 0;
      for (size_t i = first; i < first + width; ++i) most = std::max(most, std::fabs(layer.meaning[i]));
      const float scale = kind_ == StoredFormat::Kind::kF8 ? most / 448.0f : to_float(to_f16(most / 7.5f));
      layer.scales.push_back(scale);
      for (size_t i = first; i < first + width; ++i) {
        float& value = layer.meaning[i];
        if (kind_ == StoredFormat::Kind::kF8) {
          const float f8 = testing::round_f8(value * (1.0f / scale));
          layer.values.push_back(testing::f8_bits(f8));
          value = f8 * scale;
        } else {
          const float q = std::clamp(std::nearbyint(value / scale), -8.0f, 7.0f);
          layer.values.push_back(static_cast<uint8_t>(q + 8));
          value = q * scale;
        }
      }
    }
  }

  Status read_stored(size_t index, int64_t first, int64_t count, int64_t groups, uint8_t* values, float* scales) const {
    const int64_t cols = tensor(index).row_size();
    std::copy_n(layers_[index].values.begin() + first * cols, count * cols, values);
    std::copy_n(layers_[index].scales.begin() + first * groups, count * groups, scales);
    return {};
  }
  template <typename T>
  Status read_any(size_t index, int64_t first, std::span<T> out) const {
    const std::vector<float>& meaning = layers_[index].meaning;
    const int64_t cols = tensor(index).row_size();
    if (meaning.empty()) return tensor(index).read_rows(first / cols, static_cast<int64_t>(out.size()) / cols, out);
    for (size_t i = 0; i < out.size(); ++i) {
      if constexpr (std::is_same_v<T, float>) {
        out[i] = meaning[static_cast<size_t>(first) + i];
      } else {
        out[i] = to_bf16(meaning[static_cast<size_t>(first) + i]);
      }
    }
    return {};
  }
  Status read(size_t index, int64_t first, std::span<float> out) const override { return read_any(index, first, out); }
  Status read(size_t index, int64_t first, std::span<bf16> out) const override { return read_any(index, first, out); }
  std::span<const std::byte> bytes(size_t index) const override {
    return layers_[index].values.empty() ? tensor(index).bytes() : std::span<const std::byte>{};
  }
  void drop(size_t, int64_t, int64_t) const override {}

  std::shared_ptr<const WeightSource> source_;
  StoredFormat::Kind kind_;
  std::vector<Layer> layers_;  // beside tensors(); empty: as it is
};

// One of glimpse-mini's sample questions about a picture.
struct Sample {
  std::string id;
  std::vector<int32_t> prompt_ids;
  std::vector<std::string> pictures;
  int32_t num_tokens = 0;  // of its answer
};

std::vector<Sample> samples() {
  std::vector<Sample> all;
  const auto text = read_file(kMini + "/samples/samples.jsonl", size_t{16} << 20);
  EXPECT_TRUE(text);
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const json::object stored = parse_json(line)->as_object();
    Sample& sample = all.emplace_back();
    sample.id = std::string(stored.at("id").as_string());
    for (const json::value& id : stored.at("prompt_ids").as_array()) {
      sample.prompt_ids.push_back(id.to_number<int32_t>());
    }
    for (const json::value& picture : stored.at("images").as_array()) {
      sample.pictures.push_back(kMini + "/samples/" + std::string(picture.as_string()));
    }
    sample.num_tokens = static_cast<int32_t>(stored.at("generated_ids").as_array().size());
  }
  return all;
}

struct Answer {
  std::vector<int32_t> ids;
  std::vector<std::vector<float>> logits;  // of each step
};

Answer answer(Runner& runner, const Sample& sample) {
  Answer out;
  const auto options = parse_image_options(read_object(kMini + "/preprocessor_config.json"));
  EXPECT_TRUE(options);
  const auto dtype = runner.prepare_vision();
  EXPECT_TRUE(dtype);
  const PatchFormat format{.dtype = *dtype == DType::kF32 ? PatchDtype::kFloat32 : PatchDtype::kBfloat16,
                           .frames = PatchFrames::kOneFrame};
  std::vector<ImageScratch> scratch(sample.pictures.size());
  std::vector<PreparedImage> images;
  std::vector<GridThw> grids;
  for (size_t i = 0; i < sample.pictures.size(); ++i) {
    const auto file = read_file(sample.pictures[i], size_t{16} << 20);
    const auto picture = preprocess(std::as_bytes(std::span(*file)), *options, format, scratch[i]);
    EXPECT_TRUE(picture) << picture.error().message;
    const auto& thw = picture->plan.grid.grid_thw;
    grids.push_back({static_cast<int32_t>(thw[0]), static_cast<int32_t>(thw[1]), static_cast<int32_t>(thw[2])});
    images.push_back({grids.back(), picture->pixel_values.data()});
  }
  const auto prompt = make_prompt(runner.config(), sample.prompt_ids, grids);
  EXPECT_TRUE(prompt) << prompt.error().message;
  const SteadyClock clock;
  Generator generator(runner, clock);
  LatencyAccount account(clock.now_ns());
  const auto result = generator.generate(
      {.prompt = &*prompt, .images = images, .sampling = {.temperature = 0}, .max_tokens = sample.num_tokens}, account,
      [&](const SampledToken& token, std::span<const float> logits) {
        out.ids.push_back(token.id);
        out.logits.emplace_back(logits.begin(), logits.end());
        return true;
      });
  EXPECT_TRUE(result) << result.error().message;
  return out;
}

std::unique_ptr<Runner> make_runner(std::unique_ptr<Backend> backend, std::shared_ptr<const WeightSource> source,
                                    RunnerOptions options) {
  options.max_model_len = 2048;
  options.max_num_batched_tokens = 512;
  auto runner = Runner::create(std::move(backend), mini_config(), std::move(source), options);
  EXPECT_TRUE(runner) << runner.error().message;
  return *std::move(runner);
}

class QuantizedOnCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const auto cuda = make_cuda_backend({}); !cuda) GTEST_SKIP() << cuda.error().message;
    plain_ = std::make_shared<Checkpoint>(*Checkpoint::open(kMini));
  }

  // `source` and `quantization` are the device's; the CPU reads the floats that `quantized` means.
  void check(std::shared_ptr<const WeightSource> source, Quantization quantization,
             std::shared_ptr<const WeightSource> quantized, double limit, int least_equal) {
    const auto device = make_runner(*make_cuda_backend({}), std::move(source), {.quantization = quantization});
    const auto host = make_runner(*make_cpu_backend({.num_threads = 2}), std::move(quantized), {.dtype = DType::kF32});
    double worst = 0;
    double worst_gap = 0;
    int equal = 0;
    const auto all = samples();
    ASSERT_EQ(all.size(), 20u);
    for (const Sample& sample : all) {
      const Answer expected = answer(*host, sample);
      const Answer actual = answer(*device, sample);
      ASSERT_EQ(actual.ids.size(), expected.ids.size());
      size_t step = 0;
      for (; step < expected.ids.size(); ++step) {
        const std::vector<float>& reference = expected.logits[step];
        const double error = relative_error(actual.logits[step], reference);
        worst = std::max(worst, error);
        EXPECT_LE(error, limit) << sample.id << " step " << step;
        if (actual.ids[step] == expected.ids[step]) continue;
        // Only a near tie may turn out otherwise, and behind it the texts differ for good reason.
        double norm = 0;
        for (const float value : reference) norm = std::max(norm, std::fabs(double{value}));
        const double gap =
            reference[static_cast<size_t>(expected.ids[step])] - reference[static_cast<size_t>(actual.ids[step])];
        worst_gap = std::max(worst_gap, gap / norm);
        EXPECT_LE(gap, limit * norm) << sample.id << " step " << step;
        break;
      }
      equal += step == expected.ids.size() ? 1 : 0;
    }
    std::printf("worst relative error %.4f of %.4f; %d of %zu answers equal, others ties within %.4f\n", worst, limit,
                equal, all.size(), worst_gap);
    EXPECT_GE(equal, least_equal);
  }

  std::shared_ptr<const WeightSource> plain_;
};

TEST_F(QuantizedOnCuda, Fp8OfTheCheckpoint) {
  const auto quantized = std::make_shared<QuantizedLayers>(plain_, StoredFormat::Kind::kF8);
  check(quantized, Quantization::kNone, quantized, 0.06, 16);
}

TEST_F(QuantizedOnCuda, Fp8AtLoad) {
  const auto quantized = std::make_shared<QuantizedLayers>(plain_, StoredFormat::Kind::kF8);
  check(plain_, Quantization::kFp8, quantized, 0.06, 16);
}

TEST_F(QuantizedOnCuda, Int4OfTheCheckpoint) {
  const auto quantized = std::make_shared<QuantizedLayers>(plain_, StoredFormat::Kind::kInt4);
  check(quantized, Quantization::kNone, quantized, 0.02, 17);
}

// What the tests above hold the device against differs from the plain weights' logits by more than their limits would
// let through unnoticed.
TEST(QuantizedLayersOnCpu, DifferFromThePlainOnes) {
  const auto plain = std::make_shared<Checkpoint>(*Checkpoint::open(kMini));
  const auto runner = make_runner(*make_cpu_backend({.num_threads = 2}), plain, {.dtype = DType::kF32});
  const Sample sample = samples().front();
  const Answer expected = answer(*runner, sample);
  for (const auto kind : {StoredFormat::Kind::kF8, StoredFormat::Kind::kInt4}) {
    const auto rounded = make_runner(*make_cpu_backend({.num_threads = 2}),
                                     std::make_shared<QuantizedLayers>(plain, kind), {.dtype = DType::kF32});
    const Answer actual = answer(*rounded, sample);
    const double error = relative_error(actual.logits.front(), expected.logits.front());
    std::printf("kind %d: %.4f\n", static_cast<int>(kind), error);
    EXPECT_GT(error, 1e-3);
    EXPECT_LT(error, 0.5);
  }
}

}  // namespace
}  // namespace glimpse
