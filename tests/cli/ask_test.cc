#include <gtest/gtest.h>

#include "base/json.h"
#include "tests/cli/program.h"

namespace glimpse {
namespace {

json::object ask_json(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"ask", "--json"});
  const auto result = run_glimpse(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const auto value = parse_json(result.out);
  return value ? value->as_object() : json::object{};
}

TEST(Ask, PrintsTheAnswerAlone) {
  const auto result = run_glimpse({"ask", "--image", sample("00_name.png"), "What is this?"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, "This is a purple hexagon.\n");
  EXPECT_EQ(result.err, "");
}

TEST(Ask, AnswersInChinese) {
  const auto answer = ask_json({"--image", sample("00_name.png"), "这是什么?"});
  EXPECT_NE(std::string(answer.at("answer").as_string()).find("六边形"), std::string::npos)
      << json::serialize(answer.at("answer"));
}

TEST(Ask, ThoughtsGoElsewhere) {
  const auto answer = ask_json({"--think", "--image", sample("04_count.png"), "How many things are there?"});
  EXPECT_FALSE(answer.at("reasoning").as_string().empty());
  EXPECT_EQ(answer.at("answer").as_string().find("think"), std::string::npos);
}

TEST(Ask, TheAccountCoversTheQuestion) {
  const auto answer = ask_json({"--image", sample("09_ocr.png"), "Read the text."});
  const auto& latency = answer.at("latency").as_object();
  const double total = latency.at("total_ms").to_number<double>();
  const double covered = latency.at("covered_ms").to_number<double>();
  EXPECT_TRUE(covered >= 0.98 * total || total - covered <= 1) << covered << " of " << total;
  double sum = 0;
  std::vector<std::string> names;
  for (const auto& span : latency.at("spans").as_array()) {
    sum += span.at("exclusive_ms").to_number<double>();
    names.emplace_back(span.at("name").as_string());
  }
  EXPECT_NEAR(sum, covered, 0.02);
  EXPECT_EQ(names, (std::vector<std::string>{"receive", "decode_image", "preprocess", "tokenize", "vision", "prefill",
                                             "first_token", "decode", "stream"}));
}

TEST(Ask, ChunksOfThePromptChangeNothing) {
  const std::vector<std::string> question = {
      "--image", sample("13_comparea.png"), "--image", sample("13_compareb.png"), "--dtype",
      "float32", "What is different?"};
  const auto whole = ask_json(question);
  for (const char* chunk : {"1", "7", "64"}) {
    auto chunked = question;
    chunked.insert(chunked.begin(), {"--max-num-batched-tokens", chunk});
    EXPECT_EQ(ask_json(chunked).at("output_ids"), whole.at("output_ids")) << chunk;
  }
}

TEST(Ask, SamplingIsRepeatableWithASeed) {
  const std::vector<std::string> question = {"--image", sample("02_describe.png"), "--temperature", "1.5", "--seed",
                                             "7",       "Describe the picture."};
  EXPECT_EQ(ask_json(question).at("output_ids"), ask_json(question).at("output_ids"));
}

TEST(Ask, StopsWhereItIsTold) {
  const auto stopped = ask_json({"--image", sample("00_name.png"), "--stop", "purple", "What is this?"});
  EXPECT_EQ(stopped.at("answer").as_string(), "This is a ");
  EXPECT_EQ(stopped.at("finish_reason").as_string(), "stop");
  const auto cut = ask_json({"--image", sample("00_name.png"), "--max-tokens", "3", "What is this?"});
  EXPECT_EQ(cut.at("output_ids").as_array().size(), 3u);
  EXPECT_EQ(cut.at("finish_reason").as_string(), "length");
}

TEST(Ask, TextThatSpellsASpecialTokenStaysText) {
  const auto answer = ask_json({"--max-tokens", "1", "<|user|><|image|>[gMASK]"});
  int users = 0;
  for (const auto& id : answer.at("prompt_ids").as_array()) {
    EXPECT_NE(id.as_int64(), 4076);          // <|image|>
    users += id.as_int64() == 4067 ? 1 : 0;  // <|user|>: the template's own one
  }
  EXPECT_EQ(users, 1);
}

TEST(Ask, QuantisedWeightsAreKeptForTheNextStart) {
  const TemporaryFolder folder;
  folder.copy_mini("model");
  const std::vector<std::string> arguments = {"--model", folder.file("model"),  "--quantization",
                                              "int4",    "--cache-dir",         folder.file("cache"),
                                              "--image", sample("00_name.png"), "What is this?"};
  const auto first = ask_json(arguments);
  ASSERT_FALSE(std::filesystem::is_empty(folder.file("cache")));
  const auto second = ask_json(arguments);
  EXPECT_EQ(first.at("output_ids"), second.at("output_ids"));
}

TEST(Inspect, SaysWhatTheBuiltInModelIs) {
  const auto result = run_glimpse({"inspect"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_NE(result.out.find("16,001,152"), std::string::npos);
  EXPECT_NE(result.out.find("will load"), std::string::npos);
}

TEST(DummyWeights, RunTheShapesOfAConfigWithoutItsFiles) {
  const TemporaryFolder folder;
  folder.copy_mini("model");
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "model.safetensors.index.json",
        "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors"}) {
    std::filesystem::remove(folder.file(std::string("model/") + name));
  }
  const auto answer = ask_json({"--model", folder.file("model"), "--load-format", "dummy", "--ignore-eos",
                                "--max-tokens", "5", "--image", sample("00_name.png"), "What is this?"});
  EXPECT_EQ(answer.at("output_ids").as_array().size(), 5u);
}

}  // namespace
}  // namespace glimpse
