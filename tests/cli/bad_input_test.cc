// Bad input ends in one line that names file and reason, and exit code 2; never in a crash.

#include <gtest/gtest.h>

#include <fstream>

#include "base/mmap.h"
#include "tests/cli/program.h"

namespace glimpse {
namespace {

namespace fs = std::filesystem;

// The program fails with `code`, says one line, and that line has all of `words`.
void expect_failure(const std::vector<std::string>& arguments, const std::vector<std::string>& words, int code = 2) {
  const auto result = run_glimpse(arguments);
  EXPECT_EQ(result.exit_code, code) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  for (const std::string& word : words)
    EXPECT_NE(result.err.find(word), std::string::npos) << word << " in " << result.err;
}

class BadModel : public testing::Test {
 protected:
  BadModel() { folder_.copy_mini("model"); }
  std::string path(const std::string& name) const { return folder_.file("model/" + name); }
  void expect(const std::vector<std::string>& words) const {
    expect_failure({"ask", "--model", folder_.file("model"), "Hello"}, words);
  }
  std::string text(const std::string& name) const { return *read_file(path(name), size_t{64} << 20); }
  void replace(const std::string& name, const std::string& from, const std::string& to) const {
    std::string content = text(name);
    const size_t at = content.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    content.replace(at, from.size(), to);
    folder_.write("model/" + name, content);
  }

  TemporaryFolder folder_;
};

TEST_F(BadModel, TruncatedShard) {
  fs::resize_file(path("model-00002-of-00003.safetensors"), 1000000);
  expect({"model-00002-of-00003.safetensors"});
}

TEST_F(BadModel, HugeHeader) {
  std::fstream file(path("model-00001-of-00003.safetensors"), std::ios::in | std::ios::out | std::ios::binary);
  const uint64_t size = uint64_t{1} << 60;
  file.write(reinterpret_cast<const char*>(&size), 8);
  file.close();
  expect({"model-00001-of-00003.safetensors", "header"});
}

TEST_F(BadModel, MissingShard) {
  fs::remove(path("model-00003-of-00003.safetensors"));
  expect({"model-00003-of-00003.safetensors"});
}

TEST_F(BadModel, EmptyShard) {
  fs::resize_file(path("model-00003-of-00003.safetensors"), 0);
  expect({"model-00003-of-00003.safetensors"});
}

TEST_F(BadModel, WrongShape) {
  replace("config.json", "\"intermediate_size\": 640", "\"intermediate_size\": 641");
  expect({"mlp.gate_up_proj"});
}

TEST_F(BadModel, NanInConfig) {
  replace("config.json", "\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": NaN");
  expect({"config.json"});
}

TEST_F(BadModel, UnknownModelType) {
  replace("config.json", "\"model_type\": \"glm4v\"", "\"model_type\": \"llava\"");
  expect({"config.json", "llava"});
}

TEST_F(BadModel, UnknownQuantization) {
  replace("config.json", "\"model_type\": \"glm4v\"",
          "\"model_type\": \"glm4v\", \"quantization_config\": {\"quant_method\": \"hqq\"}");
  expect({"config.json", "hqq"});
}

TEST_F(BadModel, DuplicateTokenIds) {
  replace("tokenizer.json", "\"id\": 4061", "\"id\": 4060");
  expect({"tokenizer.json", "4060"});
}

TEST_F(BadModel, TokenizerCutShort) {
  fs::resize_file(path("tokenizer.json"), 10000);
  expect({"tokenizer.json"});
}

TEST_F(BadModel, TemplateWithEndlessLoop) {
  folder_.write("model/chat_template.jinja",
                "{% for a in range(1000000) %}{% for b in range(1000000) %}{% for c in range(1000000) %}x{% endfor %}"
                "{% endfor %}{% endfor %}");
  const auto result = run_glimpse({"ask", "--model", folder_.file("model"), "Hello"});
  EXPECT_EQ(result.exit_code, 2) << result.err;
}

TEST_F(BadModel, TemplateThatDoesNotParse) {
  folder_.write("model/chat_template.jinja", "{% if %}");
  expect({"chat_template.jinja"});
}

TEST_F(BadModel, NoConfig) {
  fs::remove(path("config.json"));
  expect({"config.json"});
}

TEST_F(BadModel, InspectListsTheProblemsToo) {
  fs::remove(path("model-00003-of-00003.safetensors"));
  const auto result = run_glimpse({"inspect", folder_.file("model")});
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_NE((result.out + result.err).find("model-00003-of-00003.safetensors"), std::string::npos);
}

TEST(BadPicture, EachFileGetsItsLine) {
  const TemporaryFolder folder;
  folder.write("empty.png", "");
  folder.write("page.jpg", "<html><body>not a picture</body></html>");
  folder.write("drawing.png", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>");
  folder.write("text.webp", "RIFFxxxx");
  // A PNG header of 65535 x 65535 with nothing behind it.
  std::string bomb("\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0", 29);
  folder.write("bomb.png", bomb + std::string(4, '\0'));
  const std::string whole = *read_file(sample("00_name.png"), size_t{1} << 24);
  folder.write("cut.png", whole.substr(0, whole.size() / 2));
  for (const char* name : {"empty.png", "page.jpg", "drawing.png", "text.webp", "bomb.png", "cut.png", "missing.png"}) {
    expect_failure({"ask", "--image", folder.file(name), "What is this?"}, {name});
  }
  expect_failure({"ask", "--image", folder.path().string(), "What is this?"}, {folder.path().string()});
}

TEST(BadCommandLine, ExitsWithTwo) {
  EXPECT_EQ(run_glimpse({}).exit_code, 2);
  EXPECT_EQ(run_glimpse({"ask", "--no-such-option", "x"}).exit_code, 2);
  EXPECT_EQ(run_glimpse({"ask", "--dtype", "int3", "x"}).exit_code, 2);
  expect_failure({"ask", "--temperature", "-1", "x"}, {"temperature"});
  expect_failure({"ask", "--top-p", "1.5", "x"}, {"top_p"});
  expect_failure({"ask", "--logit-bias", "seven", "x"}, {"logit-bias"});
  expect_failure({"ask", "--model", "/nowhere", "x"}, {"/nowhere"});
  expect_failure({"ask", "--model", "zai-org/Not-Here", "x"}, {"zai-org/Not-Here"});
  expect_failure({"ask"}, {"question"});
  expect_failure({"ask", "--max-model-len", "8193", "x"}, {"8193", "8192"});
  EXPECT_EQ(run_glimpse({"--help"}).exit_code, 0);
  EXPECT_EQ(run_glimpse({"--version"}).exit_code, 0);
}

TEST(BadPrompt, TooLongForTheContext) {
  expect_failure({"ask", "--max-model-len", "64", "--image", sample("00_name.png"), "What is this?"}, {"64"});
}

TEST(BadPrompt, PromptIdsAreChecked) {
  const TemporaryFolder folder;
  folder.write("negative.json", "[1, -2]");
  folder.write("large.json", "[1, 4096]");
  folder.write("image.json", "[1, 4076]");
  folder.write("text.json", "\"hello\"");
  expect_failure({"ask", "--prompt-ids", folder.file("negative.json")}, {"negative.json"});
  expect_failure({"ask", "--prompt-ids", folder.file("large.json")}, {"4096"});
  expect_failure({"ask", "--prompt-ids", folder.file("image.json")}, {"image"});
  expect_failure({"ask", "--prompt-ids", folder.file("text.json")}, {"text.json"});
}

}  // namespace
}  // namespace glimpse
