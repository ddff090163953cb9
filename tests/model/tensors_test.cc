#include "model/tensors.h"

#include <gtest/gtest.h>

#include <map>

#include "base/mmap.h"
#include "weights/checkpoint.h"
#include "weights/dummy.h"
#include "weights/safetensors.h"

namespace glimpse {
namespace {

// The 9B shape is what the defaults are; counts from the GLM-V reference, section 3.4.
TEST(ExpectedTensors, AddUpForTheNineBillionModel) {
  int64_t text = 0;
  int64_t tower = 0;
  const auto specs = expected_tensors(ModelConfig{});
  for (const TensorSpec& spec : specs) {
    (spec.name.starts_with("model.visual.") ? tower : text) += *num_elements(spec.shape);
  }
  EXPECT_EQ(specs.size(), 704U);
  EXPECT_EQ(text, 9'400'279'040);
  EXPECT_EQ(tower, 892'498'432);
  EXPECT_EQ(text + tower, 10'292'777'472);
}

TEST(ExpectedTensors, FollowTheConfigsSwitches) {
  ModelConfig config;
  config.text.attention_bias = false;
  config.text.tie_word_embeddings = true;
  config.vision.attention_bias = true;
  EXPECT_EQ(expected_tensors(config).size(), 704U - 3 * 40 - 1 + 24);
}

ModelConfig mini_config() {
  const auto text = read_file(GLIMPSE_SOURCE_DIR "/models/glimpse-mini/config.json", 1 << 20);
  return *parse_model_config(*text, "config.json");
}

TEST(TensorAccount, MiniIsComplete) {
  const auto checkpoint = Checkpoint::open(GLIMPSE_SOURCE_DIR "/models/glimpse-mini");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const TensorAccount account = account_tensors(mini_config(), *checkpoint);
  EXPECT_TRUE(require_complete(account, "mini"));
  EXPECT_TRUE(account.ignored.empty());
  for (const TensorSpec& spec : expected_tensors(mini_config())) {
    const auto tensor = checkpoint->get(spec);
    ASSERT_TRUE(tensor) << spec.name;
    EXPECT_EQ(tensor->info().dtype, DType::kBF16);
    std::vector<float> row(static_cast<size_t>(tensor->row_size()));
    ASSERT_TRUE(tensor->read_rows(tensor->num_rows() - 1, 1, row));
  }
}

TEST(TensorAccount, DummyOfAnyConfigIsComplete) {
  const DummySource dummy(expected_tensors(ModelConfig{}), 0);
  EXPECT_TRUE(require_complete(account_tensors(ModelConfig{}, dummy), "dummy"));
}

TEST(TensorAccount, NamesWhatIsWrong) {
  const ModelConfig config = mini_config();
  std::vector<TensorSpec> specs = expected_tensors(config);
  std::erase_if(specs, [](const TensorSpec& spec) { return spec.name == "lm_head.weight"; });
  specs[0].shape[0] += 1;  // the embedding
  specs.push_back({"model.visual.blocks.0.attn.q_norm.weight", {64}});
  specs.push_back({"model.language_model.rotary_emb.inv_freq", {16}});
  specs.push_back({"model.language_model.layers.7.x", {1}});
  const DummySource dummy(specs, 0);
  TensorAccount account = account_tensors(config, dummy);
  EXPECT_EQ(account.missing.size(), 1U);
  EXPECT_EQ(account.ignored, (std::vector<std::string>{"model.language_model.rotary_emb.inv_freq"}));
  const Status status = require_complete(account, "dir");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message,
            "dir: 1 tensor is missing (\"lm_head.weight\"); 1 tensor is not as the config says "
            "(\"model.language_model.embed_tokens.weight\" is [4097,384], not [4096,384]); 2 tensors are unexpected "
            "(\"model.language_model.layers.7.x\", \"model.visual.blocks.0.attn.q_norm.weight\")");
  // With a prediction layer in the config, layer 7 is known not to matter.
  ModelConfig with_prediction = config;
  with_prediction.text.num_nextn_predict_layers = 1;
  EXPECT_EQ(account_tensors(with_prediction, dummy).unexpected.size(), 1U);
  // When everything is missing, the line stays short.
  const DummySource nothing({}, 0);
  const Status empty = require_complete(account_tensors(config, nothing), "dir");
  ASSERT_FALSE(empty);
  EXPECT_LT(empty.error().message.size(), 300U);
}

}  // namespace
}  // namespace glimpse
