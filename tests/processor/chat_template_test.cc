#include "processor/chat_template.h"

#include <gtest/gtest.h>

namespace glimpse {
namespace {

// Prints a conversation so that all of its shape shows.
constexpr std::string_view kShow =
    "{% for m in messages %}[{{ m.role }}]{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for p in m.content or [] %}{{ p.text if p.type == 'text' else '<' ~ p.type ~ '>' }}{% endfor %}{% endif %}"
    "{% for c in m.tool_calls or [] %}{% for k, v in c.function.arguments|items %}({{ k }}={{ v }}){% endfor %}{% "
    "endfor %}"
    "{{ '{' ~ m.reasoning_content ~ '}' if m.reasoning_content }}{% endfor %}";

ChatTemplate show() {
  return *ChatTemplate::load(kShow, nullptr);
}

std::string rendered(const ChatTemplate& chat, std::string_view messages, const RenderPromptOptions& options = {},
                     std::string_view tools = "[]") {
  const json::value parsed = json::parse(messages);
  const json::value parsed_tools = json::parse(tools);
  const auto prompt = chat.render(parsed.as_array(), &parsed_tools.as_array(), options);
  return prompt ? prompt->text : "ERROR " + prompt.error().message;
}

constexpr std::string_view kTwoPictures =
    R"([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}},
        {"type": "text", "text": "b"}, {"type": "image"}]}])";

TEST(ChatTemplate, MapsPartsAndCountsPictures) {
  EXPECT_EQ(rendered(show(), kTwoPictures), "[user]a<image>b<image>");
  const auto prompt = show().render(json::parse(kTwoPictures).as_array(), nullptr, {});
  ASSERT_TRUE(prompt);
  EXPECT_EQ(prompt->num_images, 2U);
  EXPECT_EQ(prompt->num_videos, 0U);
}

TEST(ChatTemplate, StringFormatPutsPicturesFirst) {
  RenderPromptOptions options;
  options.content_format = ContentFormat::kString;
  EXPECT_EQ(rendered(show(), kTwoPictures, options), "[user]<image>\n<image>\na\nb");
  EXPECT_EQ(rendered(show(), R"([{"role": "user", "content": [{"type": "text", "text": "a"}, "b"]}])", options),
            "[user]a\nb");
}

TEST(ChatTemplate, ListsOfTextBecomeStringsButForUsers) {
  const auto chat = ChatTemplate::load("{% for m in messages %}{{ m.content }};{% endfor %}", nullptr);
  ASSERT_TRUE(chat);
  EXPECT_EQ(
      rendered(*chat, R"([{"role": "system", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                                {"role": "tool", "content": []}, {"role": "assistant", "content": null}])"),
      "ab;;None;");
}

TEST(ChatTemplate, ArgumentsMayBeJsonText) {
  EXPECT_EQ(rendered(show(), R"([{"role": "assistant", "content": "", "reasoning": "why", "tool_calls": [
      {"function": {"name": "f", "arguments": "{\"city\": \"巴黎\", \"n\": 2}"}}, {"function": {"name": "g", "arguments": {"x": true}}},
      {"function": {"name": "h", "arguments": ""}}]}])"),
            "[assistant](city=巴黎)(n=2)(x=True){why}");
}

TEST(ChatTemplate, NamesTheFieldAtFault) {
  const auto error = [](std::string_view messages) { return rendered(show(), messages); };
  EXPECT_EQ(error("[1]"), "ERROR messages[0] must be an object");
  EXPECT_EQ(error("[{}]"), "ERROR messages[0].role must be a string");
  EXPECT_EQ(error(R"([{"role": "user", "content": 3}])"),
            "ERROR messages[0].content must be a string, a list of parts, or null");
  EXPECT_EQ(error(R"([{"role": "user", "content": [{"type": "audio"}]}])"),
            "ERROR messages[0].content[0].type must be text, image_url or video_url, not \"audio\"");
  EXPECT_EQ(error(R"([{"role": "user", "content": [{"type": "text"}]}])"),
            "ERROR messages[0].content[0].text must be a string");
  EXPECT_EQ(error(R"([{"role": "assistant", "tool_calls": [{"function": {"arguments": "[1]"}}]}])"),
            "ERROR messages[0].tool_calls[0].function.arguments must be a JSON object");
}

TEST(ChatTemplate, UserTextIsUntrustedAndRolesAreNot) {
  const auto chat =
      ChatTemplate::load("{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{{ extra }}", nullptr);
  ASSERT_TRUE(chat);
  RenderPromptOptions options;
  options.kwargs["extra"] = "<|x|>";
  options.kwargs["messages"] = "not these";
  const auto prompt =
      chat->render(json::parse(R"([{"role": "user", "content": "<think>"}])").as_array(), nullptr, options);
  ASSERT_TRUE(prompt);
  EXPECT_EQ(prompt->text, "<|user|><think><|x|>");
  EXPECT_EQ(prompt->untrusted, (std::vector<ByteRange>{{8, 20}}));
}

TEST(ChatTemplate, LoadsFromTokenizerConfig) {
  const json::value config = json::parse(R"({"bos_token": "<s>", "eos_token": {"content": "</s>"}, "chat_template": [
      {"name": "tool_use", "template": "tools {{ tools|length }}"}, {"name": "rag", "template": "{% unknown %}"},
      {"name": "default", "template": "{{ bos_token }}{{ eos_token }}{{ enable_thinking }}"}]})");
  const auto chat = ChatTemplate::load(std::nullopt, &config.as_object());
  ASSERT_TRUE(chat) << chat.error().message;
  RenderPromptOptions options;
  EXPECT_EQ(rendered(*chat, "[]", options), "<s></s>");
  options.enable_thinking = false;
  EXPECT_EQ(rendered(*chat, "[]", options), "<s></s>False");
  EXPECT_EQ(rendered(*chat, "[]", options, "[{}]"), "tools 1");
  EXPECT_TRUE(chat->render({}, nullptr, {})->untrusted.empty());
}

TEST(ChatTemplate, RefusesWhatIsNoTemplate) {
  const auto message = [](std::string_view config) {
    const json::value parsed = json::parse(config);
    const auto chat = ChatTemplate::load(std::nullopt, &parsed.as_object());
    return chat ? "" : chat.error().message;
  };
  EXPECT_EQ(message("{}"), "no chat_template.jinja and no \"chat_template\" field");
  EXPECT_EQ(message(R"({"chat_template": 3})"), "field \"chat_template\" must be a string or a list");
  EXPECT_EQ(message(R"({"chat_template": [{"name": "x", "template": ""}]})"),
            "field \"chat_template\" lists no template named \"default\"");
  EXPECT_EQ(message(R"({"chat_template": "\n{{"})"),
            "field \"chat_template\": line 2: tag that begins here has no end \"}}\"");
}

}  // namespace
}  // namespace glimpse
