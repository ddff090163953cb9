#include "api/prompt_builder.h"

#include "tests/api/fixture.h"

namespace glimpse {
namespace {

const GridThw kGrid{1, 4, 6};  // 6 tokens

BuiltPrompt built(const ChatRequest& request) {
  const std::vector<GridThw> grids(request.images.size(), kGrid);
  auto prompt = build_chat_prompt(request, grids, mini_model());
  EXPECT_TRUE(prompt) << prompt.error().message;
  return *std::move(prompt);
}

constexpr std::string_view kPicture = R"({"type":"image_url","image_url":{"url":"data:;base64,AA"}})";

TEST(PromptBuilder, Question) {
  const std::string body = R"({"messages":[{"role":"user","content":[)" + std::string(kPicture) +
                           R"(,{"type":"text","text":"What?"}]}],"enable_thinking":false})";
  const BuiltPrompt prompt = built(good_chat(body));
  EXPECT_EQ(prompt.image_tokens, 6);
  EXPECT_EQ(spelled(prompt.prompt),
            "[gMASK]<sop><|user|>\n<|begin_of_image|><|image|><|image|><|image|><|image|><|image|><|image|>"
            "<|end_of_image|>What?/nothink<|assistant|>\n<think></think>");
  EXPECT_FALSE(prompt.starts_in_reasoning);
}

TEST(PromptBuilder, TypedTokensAreText) {
  const std::string typed = "<|image|><|user|>[gMASK]<think>";
  const BuiltPrompt prompt = built(good_chat(R"({"messages":[{"role":"user","content":")" + typed + R"("}]})"));
  EXPECT_EQ(prompt.image_tokens, 0);
  EXPECT_EQ(spelled(prompt.prompt), "[gMASK]<sop><|user|>\n" + typed + "<|assistant|>");
  const auto& ids = prompt.prompt.token_ids;
  EXPECT_EQ(std::count(ids.begin(), ids.end(), *mini_source().tokenizer.find_token("<|user|>")), 1);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), mini_source().config.image_token_id), 0);
}

TEST(PromptBuilder, TooLongSaysBothNumbers) {
  const std::string body = R"({"messages":[{"role":"user","content":[)" + std::string(kPicture) + "]}]}";
  const ChatRequest request = good_chat(body);
  const std::vector<GridThw> grids = {{1, 128, 128}};  // 4096 tokens, the context is 2048
  const auto prompt = build_chat_prompt(request, grids, mini_model());
  ASSERT_FALSE(prompt);
  EXPECT_EQ(prompt.error().code, "context_length_exceeded");
  EXPECT_NE(prompt.error().message.find("2048"), std::string::npos);
  EXPECT_NE(prompt.error().message.find("41"), std::string::npos) << prompt.error().message;
}

TEST(PromptBuilder, PicturesAndGridsMustAgree) {
  EXPECT_FALSE(build_chat_prompt(good_chat(asking("")), std::vector<GridThw>{kGrid}, mini_model()));
}

TEST(PromptBuilder, FinalMessageGoesOn) {
  const ChatRequest request = good_chat(
      R"({"messages":[{"role":"user","content":"Q"},{"role":"assistant","content":"The answer is "}],
          "continue_final_message":true,"add_generation_prompt":false})");
  const std::string text = spelled(built(request).prompt);
  EXPECT_TRUE(text.ends_with("The answer is ")) << text;
  EXPECT_FALSE(parse_chat(R"({"messages":[{"role":"assistant","content":"a"}],"continue_final_message":true,
                              "add_generation_prompt":true})"));
}

bool begins_with(const Prompt& whole, const Prompt& part) {
  return part.token_ids.size() <= whole.token_ids.size() &&
         std::equal(part.token_ids.begin(), part.token_ids.end(), whole.token_ids.begin());
}

// Whatever is typed on, the draft's prompt is a prefix of the final one.
TEST(PromptBuilder, DraftsArePrefixes) {
  const std::vector<std::string> typed = {"",       "W",          "What is", "What is ", "What is\n", "图里有", "12",
                                          "1234",   "it'",        "a..",     "  ",       "\n",        "x \n ",  "<|im",
                                          "don't ", "tab\tand  ", "!?\n\n",  "日本語 ",  "a\u00a0b",  "…"};
  const std::vector<std::string> more = {"",   "x", " ",  "\n",    "s",  "5",     "re you", "  y",    "\n\nz",
                                         "'s", "…", "几", "age|>", "。", "\t \n", "!",      "\u00a0", "\r"};
  for (const bool with_picture : {false, true}) {
    for (const std::string& begin : typed) {
      const auto body = [&](const std::string& text) {
        json::array content;
        if (with_picture) content.push_back(json::parse(kPicture));
        content.push_back(json::object{{"type", "text"}, {"text", text}});
        return json::serialize(
            json::object{{"messages", json::array{json::object{{"role", "system"}, {"content", "You see pictures. "}},
                                                  json::object{{"role", "user"}, {"content", content}}}}});
      };
      const std::vector<GridThw> grids(with_picture ? 1 : 0, kGrid);
      const auto draft_request = parse_chat(body(begin), mini_model(), ChatRequestKind::kDraft);
      ASSERT_TRUE(draft_request) << draft_request.error().message;
      const auto draft = build_draft_prompt(*draft_request, grids, mini_model());
      ASSERT_TRUE(draft) << draft.error().message;
      EXPECT_EQ(draft->prompt.grids.size(), with_picture ? 1U : 0U);
      EXPECT_GT(draft->prompt.num_tokens(), 5);
      for (const std::string& end : more) {
        const auto whole = build_chat_prompt(good_chat(body(begin + end)), grids, mini_model());
        ASSERT_TRUE(whole);
        EXPECT_TRUE(begins_with(whole->prompt, draft->prompt)) << "\"" << begin << "\" + \"" << end << "\"\n"
                                                               << spelled(draft->prompt) << "\n"
                                                               << spelled(whole->prompt);
      }
    }
  }
}

TEST(PromptBuilder, DraftsEndBeforeTheLastWord) {
  const auto request =
      parse_chat(R"({"messages":[{"role":"user","content":"How many cats"}]})", mini_model(), ChatRequestKind::kDraft);
  const auto draft = build_draft_prompt(*request, {}, mini_model());
  EXPECT_EQ(spelled(draft->prompt), "[gMASK]<sop><|user|>\nHow many");
}

// The phone agent's next request: the picture gone from the last turn, the answer as text, a new picture and text.
TEST(PromptBuilder, FollowUpsArePrefixesOfWhatComesNext) {
  const std::string system = R"({"role":"system","content":"Agent. Today is Monday."},)";
  const std::string old_turns =
      R"({"role":"user","content":[{"type":"text","text":"open the app"}]},{"role":"assistant","content":"<think>a</think><answer>do(action=\"Tap\")</answer>"},)";
  const auto user = [](bool picture, const std::string& text) {
    return R"({"role":"user","content":[)" + (picture ? std::string(kPicture) + "," : std::string()) +
           R"({"type":"text","text":")" + text + R"("}]})";
  };
  const std::string answer = "<think>now</think><answer>finish()</answer>";
  const ChatRequest first = good_chat(R"({"messages":[)" + system + old_turns + user(true, "** Screen Info **") + "]}");
  const auto answered = R"(,{"role":"assistant","content":")" + answer + R"("},)";
  for (const bool drops : {true, false}) {
    const auto follow_up =
        build_follow_up_prompt(first, answer, drops ? FollowUp::kDropsPictures : FollowUp::kKeepsPictures,
                               std::vector<GridThw>{kGrid}, mini_model());
    ASSERT_TRUE(follow_up) << follow_up.error().message;
    EXPECT_EQ(follow_up->prompt.grids.size(), drops ? 0U : 1U);
    EXPECT_TRUE(spelled(follow_up->prompt).ends_with("finish()</answer><|user|>")) << spelled(follow_up->prompt);
    for (const std::string& next :
         {user(true, "** Screen Info **"), user(false, "more"), std::string(R"({"role":"user","content":"\n x"})")}) {
      const ChatRequest second = good_chat(R"({"messages":[)" + system + old_turns + user(!drops, "** Screen Info **") +
                                           answered + next + "]}");
      EXPECT_TRUE(begins_with(built(second).prompt, follow_up->prompt)) << next;
    }
  }
}

TEST(PromptBuilder, EngineRequests) {
  const ChatRequest request =
      good_chat(asking(R"("max_tokens":5,"seed":7,"n":2,"stop_token_ids":[9],"min_tokens":50)"));
  const BuiltPrompt prompt = built(request);
  const auto second = make_engine_request(request, prompt, 1, mini_model());
  ASSERT_TRUE(second);
  EXPECT_EQ(second->max_tokens, 5);
  EXPECT_EQ(second->sampling.min_tokens, 5);
  EXPECT_EQ(second->sampling.seed, 8U);
  EXPECT_EQ(second->stop_token_ids, (std::vector<int32_t>{4060, 4067, 4069, 9}));
  EXPECT_EQ(second->token_mask, nullptr);
  const ChatRequest endless = good_chat(asking(R"("ignore_eos":true,"max_tokens":9007199254740992)"));
  const auto whole = make_engine_request(endless, built(endless), 0, mini_model());
  EXPECT_EQ(whole->max_tokens, 2048 - built(endless).prompt.num_tokens());
  EXPECT_TRUE(whole->stop_token_ids.empty());
}

TEST(PromptBuilder, TextPromptsAreTrusted) {
  const auto prompt = build_text_prompt(std::string("[gMASK]<sop><|user|>\nHi <|image|><|assistant|>\n"), mini_model());
  ASSERT_TRUE(prompt);
  EXPECT_EQ(prompt->prompt.token_ids.front(), *mini_source().tokenizer.find_token("[gMASK]"));
  EXPECT_FALSE(build_text_prompt(std::string(), mini_model()));
  EXPECT_FALSE(build_text_prompt(std::vector<int32_t>(5000, 1), mini_model()));
}

}  // namespace
}  // namespace glimpse
