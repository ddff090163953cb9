#include "api/tool_call_parser.h"

#include <gtest/gtest.h>

namespace glimpse {
namespace {

ToolSet weather_tools() {
  const json::value body = json::parse(R"({"tools":[
      {"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{
        "city":{"type":"string"},"days":{"type":"integer"},"unit":{"enum":["C","F"]},"exact":{"type":"boolean"},
        "where":{"$ref":"#/$defs/Place"},"note":{"anyOf":[{"type":"string"},{"type":"null"}]}},
        "$defs":{"Place":{"type":"object"}}}}},
      {"type":"function","function":{"name":"now"}}]})");
  return *parse_tools(body.as_object());
}

// "content|name(arguments)|…": everything that came out, joined.
std::string shown(const ToolSet& tools, const std::vector<std::string_view>& pieces) {
  ToolCallParser parser(tools);
  std::string content;
  std::vector<std::pair<std::string, std::string>> calls;
  const auto take = [&](const ToolParserOutput& out) {
    content += out.content;
    int last = -1;
    for (const ToolCallDelta& delta : out.calls) {
      EXPECT_GT(delta.index, last) << "one entry per call and push";
      last = delta.index;
      if (!delta.name.empty()) {
        EXPECT_EQ(static_cast<size_t>(delta.index), calls.size());
        calls.emplace_back(delta.name, "");
      }
      calls.at(static_cast<size_t>(delta.index)).second += delta.arguments;
    }
  };
  for (const std::string_view piece : pieces) {
    ToolParserOutput out;
    parser.push(piece, out);
    take(out);
  }
  ToolParserOutput out;
  parser.finish(out);
  take(out);
  for (const auto& [name, arguments] : calls) {
    content += "|" + name + arguments;
    EXPECT_TRUE(json::parse(arguments).is_object()) << arguments;
  }
  return content;
}

struct Case {
  std::string text;
  std::string expected;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"plain text\n", "plain text\n"},
      {"<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>",
       R"(|get_weather{"city": "Paris"})"},
      {"<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>",
       R"(|get_weather{"city": "Paris"})"},
      {"Let me "
       "see.\n<tool_call>get_weather\n<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n<arg_key>exact</arg_key>\n"
       "<arg_value>true</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>\n",
       R"(Let me see.|get_weather{"days": 3, "exact": true}|now{})"},
      {"<tool_call>now</tool_call>", "|now{}"},
      {"<tool_call>now</tool_call> done", " done|now{}"},
      // Values by the schema: text stays text, numbers that are none become text.
      {"<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n"
       "<arg_value>soon</arg_value>\n<arg_key>unit</arg_key>\n<arg_value>C</arg_value>\n</tool_call>",
       R"(|get_weather{"city": "12", "days": "soon", "unit": "C"})"},
      {"<tool_call>get_weather\n<arg_key>where</arg_key>\n<arg_value>{\"a\": [1, "
       "2]}</arg_value>\n<arg_key>note</arg_key>\n"
       "<arg_value>null</arg_value>\n<arg_key>other</arg_key>\n<arg_value>x y</arg_value></tool_call>",
       R"(|get_weather{"where": {"a": [1, 2]}, "note": null, "other": "x y"})"},
      // Markup, quotes and newlines inside a value.
      {"<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>a <b> \"c\"\n</arg_key> 图 "
       "<tool_call></arg_value>\n</tool_call>",
       R"(|get_weather{"city": "a <b> \"c\"\n</arg_key> 图 <tool_call>"})"},
      // Tags missing at the end of the text.
      {"<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Par", R"(|get_weather{"city": "Par"})"},
      {"<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>",
       R"(|get_weather{"city": "Paris"})"},
      {"<tool_call>get_weather\n<arg_key>days</arg_key>\n<arg_value>[1,", R"(|get_weather{"days": "[1,"})"},
      {"<tool_call>get_weather\n<arg_key>city</arg_key>", R"(city|get_weather{})"},
      // No calls after all.
      {"<tool_call>no_such_tool\n<arg_key>a</arg_key>", "<tool_call>no_such_tool\n<arg_key>a</arg_key>"},
      {"a <tool_call> b", "a <tool_call> b"},
      {"<tool_call>get_weather is a function", "<tool_call>get_weather is a function"},
      {"<tool_call>get_weather\nno arguments", "<tool_call>get_weather\nno arguments"},
      {"1 < 2 <tool", "1 < 2 <tool"},
      // Text where an argument should be ends the call.
      {"<tool_call>get_weather\n<arg_key>days</arg_key>\n<arg_value>1</arg_value>\noops</tool_call> ok",
       R"(oops ok|get_weather{"days": 1})"},
      // The JSON styles.
      {R"(<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>)",
       R"(|get_weather{"city":"Paris"})"},
      {"<tool_call>get_weather\n{\"days\": 2}</tool_call>", R"(|get_weather{"days":2})"},
      {"<tool_call>{\"name\": \"now\"}</tool_call>", "|now{}"},
      {"<tool_call>{\"name\": \"x\"}</tool_call>", "<tool_call>{\"name\": \"x\"}</tool_call>"},
      {"<tool_call>{broken</tool_call>", "<tool_call>{broken</tool_call>"},
  };
  return all;
}

TEST(ToolCallParser, Whole) {
  for (const Case& each : cases()) EXPECT_EQ(shown(weather_tools(), {each.text}), each.expected) << each.text;
}

TEST(ToolCallParser, CutAtEveryByte) {
  const ToolSet tools = weather_tools();
  for (const Case& each : cases()) {
    const std::string_view text = each.text;
    for (size_t cut = 0; cut <= text.size(); ++cut) {
      EXPECT_EQ(shown(tools, {text.substr(0, cut), text.substr(cut)}), each.expected) << each.text << " at " << cut;
    }
    std::vector<std::string_view> bytes;
    for (size_t i = 0; i < text.size(); ++i) bytes.push_back(text.substr(i, 1));
    EXPECT_EQ(shown(tools, bytes), each.expected) << each.text;
  }
}

TEST(ToolCallParser, ArgumentsStreamWhileWritten) {
  const ToolSet tools = weather_tools();
  ToolCallParser parser(tools);
  ToolParserOutput out;
  parser.push("<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>", out);
  ASSERT_EQ(out.calls.size(), 1U);
  EXPECT_EQ(out.calls[0].name, "get_weather");
  EXPECT_EQ(out.calls[0].arguments, "{\"city\": \"");
  out.clear();
  parser.push("Pa", out);
  ASSERT_EQ(out.calls.size(), 1U);
  EXPECT_EQ(out.calls[0].arguments, "Pa");
  EXPECT_TRUE(out.calls[0].name.empty());
}

}  // namespace
}  // namespace glimpse
