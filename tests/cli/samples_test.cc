// glimpse-mini's stored samples through the whole program: picture file and question in, token ids out. They were made
// by transformers in float32; here float32 and bfloat16 both have to give the same ids.

#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "base/json.h"
#include "base/mmap.h"
#include "tests/cli/program.h"
#include "tests/support/golden.h"

namespace glimpse {
namespace {

std::vector<json::object> read_lines(const std::string& path) {
  const auto text = read_file(path, size_t{16} << 20);
  std::vector<json::object> lines;
  if (!text) return lines;
  std::istringstream stream(*text);
  for (std::string line; std::getline(stream, line);) {
    if (!line.empty()) lines.push_back(parse_json(line)->as_object());
  }
  return lines;
}

class SamplesTest : public testing::TestWithParam<std::string> {};

TEST_P(SamplesTest, GreedyIdsAreTheStoredOnes) {
  const TemporaryFolder folder;
  const auto samples = read_lines(sample("samples.jsonl"));
  ASSERT_EQ(samples.size(), 20u);
  std::string batch;
  for (const auto& stored : samples) {
    json::object line{{"id", stored.at("id")}, {"question", stored.at("question")}};
    json::array images;
    for (const auto& image : stored.at("images").as_array()) {
      images.emplace_back(sample(std::string(image.as_string())));
    }
    line["images"] = std::move(images);
    line["think"] = stored.at("thinking");
    batch += json::serialize(line) + "\n";
  }
  // Samples with an own conversation shape (text before the picture, system turns) are compared by prompt ids.
  folder.write("batch.jsonl", batch);
  const auto result = run_glimpse({"ask", "--batch", folder.file("batch.jsonl"), "--dtype", GetParam()});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.out);
  size_t equal = 0;
  for (const auto& stored : samples) {
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    const auto answer = parse_json(line)->as_object();
    EXPECT_EQ(json::serialize(answer.at("prompt_ids")), json::serialize(stored.at("prompt_ids"))) << stored.at("id");
    EXPECT_EQ(json::serialize(answer.at("output_ids")), json::serialize(stored.at("generated_ids"))) << stored.at("id");
    equal += answer.at("output_ids") == stored.at("generated_ids") ? 1 : 0;
  }
  std::cout << equal << " of " << samples.size() << " equal in " << GetParam() << '\n';
}

INSTANTIATE_TEST_SUITE_P(Dtypes, SamplesTest, testing::Values("float32", "bfloat16"),
                         [](const auto& test) { return test.param; });

TEST(Samples, LastPositionLogitsAreTransformers) {
  const TemporaryFolder folder;
  const GoldenFile golden(std::string(GLIMPSE_SOURCE_DIR) + "/tests/golden/model/mini.safetensors");
  double worst = 0;
  for (const auto& stored : read_lines(sample("samples.jsonl"))) {
    const std::string id(stored.at("id").as_string());
    std::vector<std::string> arguments = {"ask",          "--json", "--dtype",       "float32",
                                          "--max-tokens", "1",      "--dump-logits", folder.file("logits")};
    for (const auto& image : stored.at("images").as_array()) {
      arguments.emplace_back("--image");
      arguments.push_back(sample(std::string(image.as_string())));
    }
    if (stored.at("thinking").as_bool()) arguments.emplace_back("--think");
    arguments.emplace_back(stored.at("question").as_string());
    const auto result = run_glimpse(arguments);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    const auto logits = GoldenFile(folder.file("logits")).get<float>("logits");
    const double error = relative_error(logits, golden.get<float>("sample_" + id));
    EXPECT_LE(error, 1e-4) << id;
    worst = std::max(worst, error);
  }
  std::cout << "worst relative error " << worst << '\n';
}

}  // namespace
}  // namespace glimpse
