#include "model/inspect.h"

#include <gtest/gtest.h>

#include "base/mmap.h"
#include "tests/weights/fixtures.h"

namespace glimpse {
namespace {

InspectReport inspect_directory(const std::string& directory) {
  return inspect_model(*FileSet::open(directory));
}

int64_t part(const InspectReport& report, const std::string& name) {
  for (const ModelPart& p : report.parts) {
    if (p.name == name) return p.parameters;
  }
  return -1;
}

TEST(Inspect, MiniWillLoad) {
  const InspectReport report = inspect_directory(GLIMPSE_SOURCE_DIR "/models/glimpse-mini");
  EXPECT_TRUE(report.will_load()) << inspect_text(report);
  EXPECT_TRUE(report.has_weights);
  EXPECT_EQ(report.parameters, 16'001'152);  // the index's own total
  EXPECT_EQ(report.bytes_by_dtype.at("bfloat16"), 32'002'304);
  EXPECT_EQ(report.weight_files.size(), 3U);
  EXPECT_EQ(report.kv_bytes_per_token, 7 * 2 * 2 * 64 * 2);
  EXPECT_EQ(report.image_tokens->min_tokens, 16);
  EXPECT_EQ(report.image_tokens->max_tokens, 160);
  EXPECT_EQ(report.chat_template, "chat_template.jinja");
  EXPECT_EQ(report.eos_token_id, (std::vector<int64_t>{4060, 4067, 4069}));
  EXPECT_FALSE(report.special_tokens.empty());
  EXPECT_TRUE(report.notes.empty()) << report.notes[0];
  EXPECT_NE(inspect_text(report).find("will load\n"), std::string::npos);
  const json::object object = inspect_json(report);
  EXPECT_TRUE(object.at("will_load").as_bool());
  EXPECT_EQ(object.at("special_tokens").as_object().at("<|image|>").as_int64(), 4076);
  EXPECT_TRUE(parse_json(json::serialize(object)));
}

TEST(Inspect, PublishedConfigs) {
  for (const char* name : {"GLM-4.1V-9B-Thinking", "GLM-4.6V-Flash", "AutoGLM-Phone-9B"}) {
    SCOPED_TRACE(name);
    const InspectReport report = inspect_directory(std::string(GLIMPSE_SOURCE_DIR "/configs/") + name);
    EXPECT_TRUE(report.will_load()) << inspect_text(report);
    EXPECT_FALSE(report.has_weights);
    EXPECT_EQ(report.parameters, 10'292'777'472);
    EXPECT_EQ(part(report, "vision tower") + part(report, "merger"), 892'498'432);
    EXPECT_EQ(report.kv_bytes_per_token, 40'960);
    EXPECT_EQ(report.image_tokens->max_tokens, 6144);
    EXPECT_NE(inspect_text(report).find("will load with --load-format dummy"), std::string::npos);
  }
  const InspectReport flash = inspect_directory(GLIMPSE_SOURCE_DIR "/configs/GLM-4.6V-Flash");
  EXPECT_EQ(flash.config->text.rope_parameters.rope_theta, 500000.0);
  EXPECT_EQ(flash.config->image_token_id, 151363);
}

TEST(Inspect, SmallDummyHasTheShapeThePeersWereMeasuredWith) {
  const InspectReport report = inspect_directory(GLIMPSE_SOURCE_DIR "/configs/dummy-1.75b");
  ASSERT_TRUE(report.will_load()) << inspect_text(report);
  const double text =
      static_cast<double>(part(report, "text layers") + part(report, "embedding") + part(report, "lm_head"));
  EXPECT_NEAR(text, 1.75e9, 0.01e9);
  EXPECT_EQ(report.config->vision.depth, 24);
}

TEST(Inspect, MixtureOfExpertsIsRefusedByName) {
  const InspectReport report = inspect_directory(GLIMPSE_SOURCE_DIR "/configs/GLM-4.5V");
  ASSERT_FALSE(report.will_load());
  EXPECT_NE(report.problems[0].find("\"glm4v_moe\", which is not supported yet"), std::string::npos);
  EXPECT_NE(inspect_text(report).find("will not load"), std::string::npos);
}

TEST(Inspect, CollectsEveryProblem) {
  TempDirectory dir;
  dir.write("config.json", *read_file(GLIMPSE_SOURCE_DIR "/models/glimpse-mini/config.json", 1 << 20));
  dir.write("generation_config.json", R"({"temperature": NaN})");
  dir.write("preprocessor_config.json", R"({"patch_size": 16})");
  dir.write("model.safetensors", safetensors_file(R"({"a\nb":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  const InspectReport report = inspect_directory(dir.path());
  const std::string text = inspect_text(report);
  for (const char* expected : {"generation_config.json: field \"temperature\" is NaN",
                               "preprocessor_config.json: field \"patch_size\" is 16, config.json says 14",
                               "tokenizer.json: no such file", "no chat template", "tensors are missing",
                               "unexpected tensors (1):\n    \"a\\x0ab\"\n", "missing tensors (", "will not load"}) {
    EXPECT_NE(text.find(expected), std::string::npos) << expected << "\n" << text;
  }
  EXPECT_EQ(report.account.missing.size(), expected_tensors(*report.config).size());
  EXPECT_FALSE(inspect_json(report).at("will_load").as_bool());
}

TEST(Inspect, NotesIdsThatTheTokenizerContradicts) {
  TempDirectory dir;
  dir.write("config.json", *read_file(GLIMPSE_SOURCE_DIR "/models/glimpse-mini/config.json", 1 << 20));
  dir.write("tokenizer.json", R"({"added_tokens": [{"id": 5, "content": "<|image|>"}, 3, {"id": "x"},
      {"id": 4070, "content": "<|begin_of_image|>"}]})");
  const InspectReport report = inspect_directory(dir.path());
  const std::string text = inspect_text(report);
  EXPECT_NE(text.find("<|image|> is 5 in the tokenizer, 4076 in config.json"), std::string::npos) << text;
  EXPECT_NE(text.find("the tokenizer has no <|end_of_image|>"), std::string::npos) << text;
  EXPECT_EQ(report.special_tokens.size(), 2U);
}

TEST(Inspect, AnEmptyDirectoryIsAProblemNotACrash) {
  TempDirectory dir;
  const InspectReport report = inspect_directory(dir.path());
  ASSERT_FALSE(report.will_load());
  EXPECT_NE(report.problems[0].find("config.json"), std::string::npos);
  EXPECT_FALSE(inspect_text(report).empty());
  EXPECT_TRUE(inspect_json(report).at("config").is_null());
}

}  // namespace
}  // namespace glimpse
