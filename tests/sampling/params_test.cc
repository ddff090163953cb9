#include "sampling/params.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace glimpse {
namespace {

TEST(SamplingParams, DefaultsAndEdgesAreValid) {
  EXPECT_TRUE(validate({}, 100));
  SamplingParams edges{.temperature = 0, .top_k = -1, .top_p = 1e-6f, .min_p = 1, .repetition_penalty = 1e-3f};
  edges.frequency_penalty = -2;
  edges.presence_penalty = 2;
  edges.logit_bias = {{0, -100.0f}, {99, 100.0f}};
  edges.stop_token_ids = {0, 99};
  edges.logprobs = 20;
  EXPECT_TRUE(validate(edges, 100));
}

TEST(SamplingParams, FaultsNameTheField) {
  const std::pair<const char*, std::function<void(SamplingParams&)>> cases[] = {
      {"temperature", [](auto& p) { p.temperature = -0.1f; }},
      {"temperature", [](auto& p) { p.temperature = NAN; }},
      {"temperature", [](auto& p) { p.temperature = INFINITY; }},
      {"top_k", [](auto& p) { p.top_k = -2; }},
      {"top_p", [](auto& p) { p.top_p = 0; }},
      {"top_p", [](auto& p) { p.top_p = 1.01f; }},
      {"min_p", [](auto& p) { p.min_p = -0.1f; }},
      {"min_p", [](auto& p) { p.min_p = 1.1f; }},
      {"repetition_penalty", [](auto& p) { p.repetition_penalty = 0; }},
      {"frequency_penalty", [](auto& p) { p.frequency_penalty = 2.1f; }},
      {"presence_penalty", [](auto& p) { p.presence_penalty = NAN; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{100, 1.0f}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{-1, 1.0f}}; }},
      {"logit_bias", [](auto& p) { p.logit_bias = {{5, 101.0f}}; }},
      {"stop string", [](auto& p) { p.stop = {""}; }},
      {"stop string", [](auto& p) { p.stop.assign(65, "x"); }},
      {"stop_token_ids", [](auto& p) { p.stop_token_ids = {100}; }},
      {"min_tokens", [](auto& p) { p.min_tokens = -1; }},
      {"logprobs", [](auto& p) { p.logprobs = 21; }},
  };
  for (const auto& [field, change] : cases) {
    SamplingParams params;
    change(params);
    const Status status = validate(params, 100);
    ASSERT_FALSE(status) << field;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(status.error().message.find(field), std::string::npos) << status.error().message;
  }
}

}  // namespace
}  // namespace glimpse
