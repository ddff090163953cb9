// The model against transformers in float32: logits, greedy ids, positions, image embeddings. The goldens' folders are
// the committed tiny checkpoints, and those under $GLIMPSE_GOLDEN_DIR when it is set (test.sh makes them).

#include <cstdlib>
#include <filesystem>
#include <set>

#include "engine/generator.h"
#include "engine/prompt.h"
#include "engine/runner.h"
#include "tests/support/golden.h"
#include "weights/checkpoint.h"

namespace glimpse {
namespace {

namespace fs = std::filesystem;

struct GoldenCase {
  std::string folder;
  std::string name;
};

std::vector<GoldenCase> find_cases() {
  std::vector<fs::path> roots = {fs::path(GLIMPSE_SOURCE_DIR) / "tests/golden/model"};
  if (const char* extra = std::getenv("GLIMPSE_GOLDEN_DIR"); extra != nullptr && *extra != '\0') roots.push_back(extra);
  std::vector<GoldenCase> cases;
  std::set<std::string> seen;  // the committed checkpoints are among those of the folder
  for (const fs::path& root : roots) {
    for (const auto& folder : fs::directory_iterator(root)) {
      if (!fs::exists(folder.path() / "checkpoint") || !seen.insert(folder.path().filename()).second) continue;
      for (const auto& file : fs::directory_iterator(folder)) {
        if (file.path().extension() == ".json") cases.push_back({folder.path(), file.path().stem()});
      }
    }
  }
  return cases;
}

struct BackEnd {
  std::string name;
  bool reference = false;
  bool cuda = false;
  CpuOptions cpu;
  DType dtype = DType::kF32;
  int32_t max_num_batched_tokens = 512;
};

std::vector<BackEnd> back_ends() {
  std::vector<BackEnd> all = {{.name = "reference_f32", .reference = true}};
  for (const CpuIsa isa : {CpuIsa::kAvx2, CpuIsa::kAvx512, CpuIsa::kAvx512Bf16, CpuIsa::kAmx}) {
    CpuOptions options{.num_threads = 2, .isa = static_cast<int>(isa)};
    if (!make_cpu_backend(options)) continue;  // this processor lacks it
    const std::string suffix = std::to_string(static_cast<int>(isa));
    all.push_back({.name = "cpu_f32_isa" + suffix, .cpu = options});
    all.push_back({.name = "cpu_bf16_isa" + suffix, .cpu = options, .dtype = DType::kBF16});
  }
  all.push_back({.name = "cpu_f32_chunks_of_5", .cpu = {.num_threads = 1}, .max_num_batched_tokens = 5});
  all.push_back({.name = "cpu_f32_deferred", .cpu = {.num_threads = 2, .deferred = true}});
  if (make_cuda_backend({})) {
    all.push_back({.name = "cuda_f32", .cuda = true});
    all.push_back({.name = "cuda_bf16", .cuda = true, .dtype = DType::kBF16});
    all.push_back({.name = "cuda_f32_chunks_of_5", .cuda = true, .max_num_batched_tokens = 5});
  }
  return all;
}

// One named skip where there is no device.
TEST(GoldenOnCuda, HasADevice) {
  const auto cuda = make_cuda_backend({});
  if (!cuda) GTEST_SKIP() << cuda.error().message;
}

// One frame of each patch, [patches, channels 14 14], in the dtype the tower reads.
std::vector<std::byte> one_frame(const std::vector<float>& pixel_values, DType dtype) {
  constexpr size_t kPlane = 14 * 14;
  std::vector<std::byte> out;
  for (size_t plane = 0; plane < pixel_values.size() / kPlane; plane += 2) {
    for (size_t i = 0; i < kPlane; ++i) {
      const float value = pixel_values[plane * kPlane + i];
      const bf16 rounded = to_bf16(value);
      const auto* bytes = dtype == DType::kF32 ? reinterpret_cast<const std::byte*>(&value)
                                               : reinterpret_cast<const std::byte*>(&rounded);
      out.insert(out.end(), bytes, bytes + dtype_bytes(dtype));
    }
  }
  return out;
}

class GoldenTest : public testing::TestWithParam<std::tuple<BackEnd, GoldenCase>> {};

TEST_P(GoldenTest, LogitsAndGreedyIdsAreTransformers) {
  const auto& [back_end, golden] = GetParam();
  const GoldenFile file(golden.folder + "/" + golden.name + ".safetensors");
  const auto text = read_file(golden.folder + "/" + golden.name + ".json", 1 << 20);
  ASSERT_TRUE(text);
  const auto facts = parse_json(*text);
  ASSERT_TRUE(facts);
  const double bf16_error = *get_double(facts->get_object(), "bf16_error", -1);

  const std::string checkpoint = golden.folder + "/checkpoint";
  const auto config_text = read_file(checkpoint + "/config.json", 1 << 20);
  ASSERT_TRUE(config_text);
  const auto config = parse_model_config(*config_text, "config.json");
  ASSERT_TRUE(config) << config.error().message;
  auto source = Checkpoint::open(checkpoint);
  ASSERT_TRUE(source) << source.error().message;

  std::unique_ptr<Backend> backend;
  if (back_end.reference) {
    backend = make_reference_backend();
  } else {
    auto made = back_end.cuda ? make_cuda_backend({}) : make_cpu_backend(back_end.cpu);
    ASSERT_TRUE(made) << made.error().message;
    backend = *std::move(made);
  }
  auto runner = Runner::create(
      std::move(backend), *config, std::make_shared<Checkpoint>(*std::move(source)),
      {.dtype = back_end.dtype, .max_model_len = 2048, .max_num_batched_tokens = back_end.max_num_batched_tokens});
  ASSERT_TRUE(runner) << runner.error().message;

  const auto thw =
      file.find("image_grid_thw") != nullptr ? file.get<int32_t>("image_grid_thw") : std::vector<int32_t>{};
  std::vector<GridThw> grids;
  for (size_t i = 0; i < thw.size(); i += 3) grids.push_back({thw[i], thw[i + 1], thw[i + 2]});
  const auto prompt = make_prompt(*config, file.get<int32_t>("input_ids"), grids);
  ASSERT_TRUE(prompt) << prompt.error().message;
  std::vector<int32_t> positions;
  for (const auto& axis : prompt->positions.axes) positions.insert(positions.end(), axis.begin(), axis.end());
  EXPECT_EQ(positions, file.get<int32_t>("position_ids"));

  std::vector<std::byte> pixels;
  std::vector<PreparedImage> images;
  if (!grids.empty()) {
    const auto dtype = (*runner)->prepare_vision();
    ASSERT_TRUE(dtype) << dtype.error().message;
    pixels = one_frame(file.get<float>("pixel_values"), *dtype);
    size_t offset = 0;
    for (const GridThw& grid : grids) {
      images.push_back({grid, pixels.data() + offset});
      offset += static_cast<size_t>(grid.num_patches()) * 3 * 14 * 14 * dtype_bytes(*dtype);
    }
  }

  const auto expected_ids = file.get<int32_t>("output_ids");
  const auto expected_logits = file.get<float>("logits");
  const auto margins = file.get<float>("margins");
  const SteadyClock clock;
  Generator generator(**runner, clock);
  LatencyAccount account(clock.now_ns());
  const auto vocab = static_cast<size_t>(config->text.vocab_size);
  size_t step = 0;
  double worst = 0;
  const double limit = back_end.dtype == DType::kF32 ? 1e-4 : 2 * bf16_error;
  const auto result =
      generator.generate({.prompt = &*prompt,
                          .images = images,
                          .sampling = {.temperature = 0},
                          .max_tokens = static_cast<int32_t>(expected_ids.size())},
                         account, [&](const SampledToken& token, std::span<const float> logits) {
                           const auto expected = std::span(expected_logits).subspan(step * vocab, vocab);
                           const double error = relative_error(logits.first(vocab), expected);
                           worst = std::max(worst, error);
                           if (step == 0) {
                             EXPECT_LE(error, limit) << "first logits";
                           }
                           if (token.id != expected_ids[step]) {
                             // Only a near tie may turn out otherwise, and behind it the texts differ for good reason.
                             double norm = 0;
                             for (const float value : expected) norm = std::max(norm, std::fabs(double{value}));
                             EXPECT_LE(margins[step], 4 * limit * norm)
                                 << "step " << step << ": " << token.id << " for " << expected_ids[step];
                             return false;
                           }
                           ++step;
                           return true;
                         });
  ASSERT_TRUE(result) << result.error().message;
  RecordProperty("worst_relative_error", std::to_string(worst));
  std::cout << "worst relative error " << worst << " of " << limit << ", " << step << " of " << expected_ids.size()
            << " ids\n";

  if (!grids.empty() && file.find("stage.vision.merger") != nullptr && back_end.dtype == DType::kF32) {
    const auto merger = file.get<float>("stage.vision.merger");
    const auto columns = static_cast<size_t>(config->text.hidden_size);
    const auto rows = (*runner)->image_embeddings(0, static_cast<int64_t>(merger.size() / columns));
    EXPECT_LE(relative_error(rows, merger), 1e-4);
  }
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, GoldenTest,
                         testing::Combine(testing::ValuesIn(back_ends()), testing::ValuesIn(find_cases())),
                         [](const auto& test) {
                           std::string name = std::get<0>(test.param).name + "_" +
                                              fs::path(std::get<1>(test.param).folder).filename().string() + "_" +
                                              std::get<1>(test.param).name;
                           for (char& c : name) {
                             if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
                           }
                           return name;
                         });

}  // namespace
}  // namespace glimpse
