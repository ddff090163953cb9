#include "model/config.h"

#include <gtest/gtest.h>

#include "base/mmap.h"
#include "model/generation_config.h"

namespace glimpse {
namespace {

// One model, written in the four layouts that are in circulation. Everything differs from the defaults that can.
const std::string kTextFields = R"("vocab_size": 1000, "hidden_size": 192, "num_hidden_layers": 3,
  "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 320, "hidden_act": "silu",
  "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "attention_bias": false, "pad_token_id": 7)";
const std::string kIds = R"("image_token_id": 900, "image_start_token_id": 901, "image_end_token_id": 902,
  "video_token_id": 903, "video_start_token_id": 904, "video_end_token_id": 905, "eos_token_id": [7, 8])";
const std::string kVisionFields = R"("depth": 2, "hidden_size": 64, "patch_size": 16, "temporal_patch_size": 2,
  "spatial_merge_size": 2, "image_size": 64, "in_channels": 3, "out_hidden_size": 192, "intermediate_size": 448,
  "rms_norm_eps": 1e-4, "attention_bias": true)";
const std::string kOldRope = R"("rope_theta": 500000.0, "partial_rotary_factor": 0.25,
  "rope_scaling": {"type": "default", "mrope_section": [1, 1, 2]})";
const std::string kNewRope = R"("rope_parameters": {"rope_type": "default", "rope_theta": 500000.0,
  "partial_rotary_factor": 0.25, "mrope_section": [1, 1, 2]})";

std::string flat() {
  return R"({"model_type": "glm4v", "torch_dtype": "float16", )" + kTextFields + "," + kOldRope + "," + kIds +
         R"(, "vision_config": {"model_type": "glm4v", "num_heads": 4, )" + kVisionFields + "}}";
}
std::string nested_v4() {
  return R"({"model_type": "glm4v", "torch_dtype": "float16", "text_config": {"model_type": "glm4v_text", )" +
         kTextFields + "," + kOldRope + R"(, "eos_token_id": [1]}, )" + kIds +
         R"(, "vision_config": {"model_type": "glm4v_vision", "num_heads": 4, )" + kVisionFields + "}}";
}
std::string nested_v5() {
  // The sub-config has the ids' list as it was before; the head's dimension is spelled out.
  return R"({"model_type": "glm4v", "text_config": {"dtype": "float16", "head_dim": 32, "model_type": "glm4v_text", )" +
         kTextFields + "," + kNewRope + "}, " + kIds + R"(, "vision_config": {"num_heads": 4, )" + kVisionFields + "}}";
}
std::string newest() {
  return R"({"model_type": "glm4v", "dtype": "float16", "text_config": {"model_type": "glm4v_text", )" + kTextFields +
         "," + kNewRope + "}, " + kIds +
         R"(, "vision_config": {"num_attention_heads": 4, "rope_parameters": {"rope_type": "axial",
         "rope_theta": 10000.0}, )" +
         kVisionFields + "}}";
}

ModelConfig expected() {
  ModelConfig config;
  config.text = {.vocab_size = 1000,
                 .hidden_size = 192,
                 .num_hidden_layers = 3,
                 .num_attention_heads = 6,
                 .num_key_value_heads = 2,
                 .head_dim = 32,
                 .intermediate_size = 320,
                 .rms_norm_eps = 1e-6,
                 .max_position_embeddings = 4096,
                 .rope_parameters = {.rope_theta = 500000.0, .partial_rotary_factor = 0.25, .mrope_section = {1, 1, 2}},
                 .attention_bias = false,
                 .tie_word_embeddings = false,
                 .num_nextn_predict_layers = 0,
                 .pad_token_id = 7};
  config.vision = {.depth = 2,
                   .hidden_size = 64,
                   .num_heads = 4,
                   .patch_size = 16,
                   .temporal_patch_size = 2,
                   .spatial_merge_size = 2,
                   .image_size = 64,
                   .in_channels = 3,
                   .out_hidden_size = 192,
                   .intermediate_size = 448,
                   .rms_norm_eps = 1e-4,
                   .attention_bias = true,
                   .rope_theta = 10000.0};
  config.image_token_id = 900;
  config.image_start_token_id = 901;
  config.image_end_token_id = 902;
  config.video_token_id = 903;
  config.video_start_token_id = 904;
  config.video_end_token_id = 905;
  config.eos_token_id = {7, 8};
  config.dtype = DType::kF16;
  return config;
}

TEST(ModelConfig, FourLayoutsAreOneModel) {
  int layout = 0;
  for (const std::string& text : {flat(), nested_v4(), nested_v5(), newest()}) {
    SCOPED_TRACE(++layout);
    const auto config = parse_model_config(text, "config.json");
    ASSERT_TRUE(config) << config.error().message;
    EXPECT_TRUE(*config == expected());
    EXPECT_EQ(config->text.rotary_dim(), 8);
  }
}

TEST(ModelConfig, DefaultsFillWhatIsAbsent) {
  const auto config = parse_model_config(R"({"model_type": "glm4v", "vision_config": {}})", "c");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_TRUE(*config == ModelConfig{});
  EXPECT_EQ(config->text.rotary_dim(), 64);
  EXPECT_EQ(config->vision.num_positions(), 576);
  EXPECT_EQ(config->vision.patch_dim(), 1176);
}

TEST(ModelConfig, RopeParametersWinOverTheOthers) {
  const auto config = parse_model_config(
      R"({"model_type": "glm4v", "vision_config": {}, "text_config": {"rope_theta": 1.0, "partial_rotary_factor": 1.0,
      "rope_scaling": {"rope_theta": 2.0, "mrope_section": [16, 8, 8], "partial_rotary_factor": 0.5},
      "rope_parameters": {"rope_theta": 3.0}}})",
      "c");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->text.rope_parameters.rope_theta, 3.0);
  EXPECT_EQ(config->text.rope_parameters.partial_rotary_factor, 0.5);
  EXPECT_EQ(config->text.rope_parameters.mrope_section[0], 16);
}

TEST(ModelConfig, TiesWhenEitherSaysSo) {
  for (const char* text : {R"({"model_type": "glm4v", "vision_config": {}, "tie_word_embeddings": true})",
                           R"({"model_type": "glm4v", "vision_config": {}, "tie_word_embeddings": false,
                           "text_config": {"tie_word_embeddings": true}})"}) {
    EXPECT_TRUE(parse_model_config(text, "c")->text.tie_word_embeddings);
  }
}

TEST(ModelConfig, EosIsAnIdOrAList) {
  const auto eos = [](const std::string& root, const std::string& text) {
    return parse_model_config(
               R"({"model_type": "glm4v", "vision_config": {})" + root + R"(, "text_config": {)" + text + "}}", "c")
        ->eos_token_id;
  };
  EXPECT_EQ(eos("", ""), (std::vector<int64_t>{}));
  EXPECT_EQ(eos(R"(, "eos_token_id": 5)", R"("eos_token_id": [6])"), (std::vector<int64_t>{5}));
  EXPECT_EQ(eos(R"(, "eos_token_id": null)", R"("eos_token_id": [6, 7])"), (std::vector<int64_t>{6, 7}));
}

struct BadConfig {
  std::string text;
  const char* expected;
  ErrorCode code = ErrorCode::kInvalidData;
};

std::string with_text(const std::string& fields) {
  return R"({"model_type": "glm4v", "vision_config": {}, "text_config": {)" + fields + "}}";
}
std::string with_vision(const std::string& fields) {
  return R"({"model_type": "glm4v", "vision_config": {)" + fields + "}}";
}
std::string with_root(const std::string& fields) {
  return R"({"model_type": "glm4v", "vision_config": {}, )" + fields + "}";
}

TEST(ModelConfig, RefusesBadValuesNamingTheField) {
  const ErrorCode unsupported = ErrorCode::kUnsupported;
  for (const BadConfig& bad : std::vector<BadConfig>{
           {"", "not valid JSON"},
           {"[]", "must be a JSON object"},
           {"{}", "\"model_type\" is missing"},
           {R"({"model_type": "llama"})", "\"llama\", which is not a type this program knows; known: \"glm4v\"",
            unsupported},
           {R"({"model_type": "glm4v_moe"})", "\"glm4v_moe\", which is not supported yet", unsupported},
           {R"({"model_type": "glm_ocr"})", "\"glm_ocr\", which is not supported yet", unsupported},
           {R"({"model_type": "chatglm"})", "\"chatglm\", which is not supported yet", unsupported},
           {R"({"model_type": 3})", "\"model_type\" must be a string"},
           {R"({"model_type": "glm4v"})", "\"vision_config\" is missing"},
           {R"({"model_type": "glm4v", "vision_config": []})", "\"vision_config\" must be an object"},
           {with_root(R"("text_config": 1)"), "\"text_config\" must be an object"},
           {with_root(R"("quantization_config": {"quant_method": "gptq", "bits": 3})"),
            "gptq weights of 3 bits are not read", unsupported},
           {with_text(R"("quantization_config": {"quant_method": "hqq"})"), "\"hqq\"", unsupported},
           {with_root(R"("quantization_config": {})"), "an unnamed method", unsupported},
           {with_text(R"("rms_norm_eps": NaN)"), "field \"rms_norm_eps\" is NaN, must be a finite number"},
           {with_text(R"("rms_norm_eps" : -Infinity)"), "field \"rms_norm_eps\" is -Infinity"},
           {with_text(R"("rms_norm_eps": 1e999)"), "\"rms_norm_eps\" must be a finite number"},
           {with_text(R"("rms_norm_eps": 0)"), "\"text_config.rms_norm_eps\" is 0, must be above 0"},
           {with_text(R"("rms_norm_eps": -1e-5)"), "\"text_config.rms_norm_eps\" is -1e-05"},
           {with_text(R"("hidden_size": 0)"), "\"text_config.hidden_size\" is 0, must be 1 to 65536"},
           {with_text(R"("hidden_size": 4096.5)"), "text_config: field \"hidden_size\" must be an integer"},
           {with_text(R"("hidden_size": 1e300)"), "\"hidden_size\" must be an integer"},
           {with_text(R"("hidden_size": 18446744073709551615)"), "\"hidden_size\" must be an integer"},
           {with_text(R"("hidden_size": "4096")"), "\"hidden_size\" must be an integer, not \"4096\""},
           {with_text(R"("num_hidden_layers": 513)"), "\"text_config.num_hidden_layers\" is 513"},
           {with_text(R"("vocab_size": -1)"), "\"text_config.vocab_size\" is -1"},
           {with_text(R"("vocab_size": 1000)"), "\"image_token_id\" is 151343 by default, must be below vocab_size"},
           {with_text(R"("num_key_value_heads": 5)"), "\"text_config.num_key_value_heads\" is 5, must divide"},
           {with_text(R"("num_key_value_heads": 0)"), "\"text_config.num_key_value_heads\" is 0"},
           {with_text(R"("num_attention_heads": 30)"), "is 30, must divide hidden_size 4096"},
           {with_text(R"("head_dim": 65536)"), "\"text_config.head_dim\" times num_attention_heads"},
           {with_text(R"("hidden_act": "gelu")"), "\"text_config.hidden_act\" is \"gelu\"", unsupported},
           {with_text(R"("model_type": "glm4v_moe_text")"), "\"text_config.model_type\"", unsupported},
           {with_text(R"("rope_theta": 0)"), "\"text_config.rope_theta\" is 0, must be above 0"},
           {with_text(R"("rope_parameters": {"rope_theta": -1.0})"),
            "\"text_config.rope_parameters.rope_theta\" is -1"},
           {with_text(R"("rope_parameters": {"rope_type": "yarn"})"),
            "\"text_config.rope_parameters.rope_type\" is \"yarn\"", unsupported},
           {with_text(R"("rope_scaling": {"type": "linear"})"), "\"text_config.rope_scaling.type\"", unsupported},
           {with_text(R"("rope_scaling": 3)"), "\"text_config.rope_scaling\" must be an object"},
           {with_text(R"("partial_rotary_factor": 1.5)"), "\"text_config.partial_rotary_factor\" is 1.5"},
           {with_text(R"("partial_rotary_factor": 0.001)"), "makes 0 of head_dim 128 rotate"},
           {with_text(R"("rope_parameters": {"mrope_section": [8, 12, 13]})"),
            "\"text_config.rope_parameters.mrope_section\" adds up to 33, must be half of the rotary dimension, 32"},
           {with_text(R"("rope_parameters": {"mrope_section": [16, 16]})"), "mrope_section\" must hold three"},
           {with_text(R"("rope_parameters": {"mrope_section": [-8, 20, 20]})"), "must hold integers 0 to"},
           {with_text(R"("rope_parameters": {"mrope_section": [1, 2, 3, 4]})"), "has 4 entries"},
           {with_text(R"("rope_parameters": {"mrope_section": "8"})"), "mrope_section\" must be an integer"},
           {with_text(R"("attention_bias": 1)"), "\"attention_bias\" must be true or false"},
           {with_vision(R"("depth": 0)"), "\"vision_config.depth\" is 0"},
           {with_vision(R"("num_heads": 7)"), "\"vision_config.num_heads\" is 7"},
           {with_vision(R"("num_heads": 12, "num_attention_heads": 16)"), "is 16, but num_heads is 12"},
           {with_vision(R"("patch_size": 0)"), "\"vision_config.patch_size\" is 0"},
           {with_vision(R"("image_size": 10)"), "\"vision_config.image_size\" is 10, must be at least patch_size 14"},
           {with_vision(R"("in_channels": 4)"), "only 3 (RGB)", unsupported},
           {with_vision(R"("out_hidden_size": 2048)"), "is 2048, must be the text's hidden_size 4096"},
           {with_vision(R"("model_type": "glm_ocr_vision")"), "\"vision_config.model_type\"", unsupported},
           {with_vision(R"("hidden_act": "gelu")"), "\"vision_config.hidden_act\"", unsupported},
           {with_root(R"("image_token_id": 151552)"), "\"image_token_id\" is 151552, must be below vocab_size 151552"},
           {with_root(R"("image_token_id": -1)"), "\"image_token_id\" is -1"},
           {with_root(R"("eos_token_id": [1, "x"])"), "\"eos_token_id\" must hold integers"},
           {with_root(R"("eos_token_id": {})"), "\"eos_token_id\" must be an integer"},
           {with_root(R"("dtype": "int4")"), "\"dtype\" is \"int4\"", unsupported},
       }) {
    SCOPED_TRACE(bad.text);
    const auto config = parse_model_config(bad.text, "m/config.json");
    ASSERT_FALSE(config);
    EXPECT_EQ(config.error().code, bad.code);
    EXPECT_TRUE(config.error().message.starts_with("m/config.json: ")) << config.error().message;
    EXPECT_NE(config.error().message.find(bad.expected), std::string::npos) << config.error().message;
    EXPECT_EQ(config.error().message.find('\n'), std::string::npos);
  }
}

TEST(GenerationConfig, ReadsSamplingAndEos) {
  const auto config = parse_generation_config(
      R"({"eos_token_id": [3, 4], "pad_token_id": 3, "do_sample": true, "temperature": 0.8, "top_p": 0.6, "top_k": 2,
      "repetition_penalty": 1.1, "max_new_tokens": 100, "transformers_version": "x"})",
      "g");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->eos_token_id, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(config->do_sample, true);
  EXPECT_EQ(config->temperature, 0.8);
  EXPECT_EQ(config->top_p, 0.6);
  EXPECT_EQ(config->top_k, 2);
  EXPECT_EQ(config->repetition_penalty, 1.1);
  EXPECT_FALSE(config->min_p.has_value());
  EXPECT_TRUE(*parse_generation_config("{}", "g") == GenerationConfig{});
}

TEST(GenerationConfig, RefusesBadValues) {
  for (const BadConfig& bad : std::vector<BadConfig>{
           {R"({"temperature": NaN})", "\"temperature\" is NaN"},
           {R"({"temperature": -1})", "\"temperature\" is -1"},
           {R"({"top_p": 1.5})", "\"top_p\" is 1.5"},
           {R"({"top_k": -1})", "\"top_k\" is -1"},
           {R"({"repetition_penalty": 0})", "\"repetition_penalty\" is 0, must be above 0"},
           {R"({"eos_token_id": -5})", "\"eos_token_id\" is -5"},
           {R"({"do_sample": "yes"})", "\"do_sample\" must be true or false"},
       }) {
    const auto config = parse_generation_config(bad.text, "g.json");
    ASSERT_FALSE(config) << bad.text;
    EXPECT_NE(config.error().message.find(bad.expected), std::string::npos) << config.error().message;
  }
}

TEST(GenerationConfig, EosOfGenerationWinsOverTheModels) {
  ModelConfig model;
  model.eos_token_id = {1, 2};
  EXPECT_EQ(*resolve_eos(model, {}), (std::vector<int64_t>{1, 2}));
  GenerationConfig generation;
  generation.eos_token_id = {3};
  EXPECT_EQ(*resolve_eos(model, generation), (std::vector<int64_t>{3}));
  generation.eos_token_id = {151552};
  EXPECT_FALSE(resolve_eos(model, generation));
}

TEST(ModelConfig, ReadsMini) {
  const std::string directory = GLIMPSE_SOURCE_DIR "/models/glimpse-mini/";
  const auto text = read_file(directory + "config.json", 1 << 20);
  ASSERT_TRUE(text);
  const auto config = parse_model_config(*text, "config.json");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->text.hidden_size, 384);
  EXPECT_EQ(config->text.head_dim, 64);
  EXPECT_EQ(config->text.rotary_dim(), 32);
  EXPECT_EQ(config->vision.depth, 6);
  EXPECT_EQ(config->image_token_id, 4076);
  EXPECT_EQ(config->dtype, DType::kBF16);
  EXPECT_EQ(config->eos_token_id, (std::vector<int64_t>{4060, 4067, 4069}));
}

}  // namespace
}  // namespace glimpse
