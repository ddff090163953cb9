#include "grammar/tool_grammar.h"

#include "tests/grammar/sampling.h"

namespace glimpse {
namespace {

Constraint calls(bool several) {
  Constraint constraint{.kind = Constraint::Kind::kToolCalls, .several = several};
  constraint.tools.emplace_back("weather", json::parse(R"({"type":"object","properties":{"city":{"type":"string"},
      "days":{"type":"integer","minimum":1,"maximum":9},"unit":{"type":"string","enum":["C","F"]}},"required":["city"]})"));
  constraint.tools.emplace_back("now", json::value(nullptr));
  constraint.tools.emplace_back("none", json::parse(R"({"type":"object"})"));
  return constraint;
}

TEST(ToolGrammar, TheFormThatTheParserReads) {
  const std::string city = "<arg_key>city</arg_key>\n<arg_value>New <York> \"x\"</arg_value>\n";
  const std::string days = "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n";
  const std::string unit = "<arg_key>unit</arg_key>\n<arg_value>F</arg_value>\n";
  const std::string begin = "<tool_call>weather\n";
  const std::string end = "</tool_call>";
  for (const std::string& text : {begin + city + end, begin + city + days + unit + end, begin + city + unit + end,
                                  std::string("<tool_call>none\n</tool_call>"),
                                  "<tool_call>now\n<arg_key>x</arg_key>\n<arg_value>y</arg_value>\n" + end}) {
    EXPECT_TRUE(matches(calls(false), text)) << text;
    EXPECT_FALSE(matches(calls(false), text + "\n" + text)) << text;
    EXPECT_TRUE(matches(calls(true), text + "\n" + text)) << text;
  }
  for (const std::string& text :
       {begin + end, begin + days + end, begin + days + city + end, city, std::string("<tool_call>other\n</tool_call>"),
        begin + city, begin + city + "<arg_key>days</arg_key>\n<arg_value>12</arg_value>\n" + end}) {
    EXPECT_FALSE(matches(calls(false), text)) << text;
  }
}

TEST(ToolGrammar, DrawnCallsEnd) {
  std::mt19937_64 random(3);
  int ended = 0;
  for (int i = 0; i < 40; ++i) {
    const auto text = draw(mask_of(calls(true)), random, 2000);
    if (!text) continue;
    ++ended;
    EXPECT_TRUE(text->starts_with("<tool_call>") && text->ends_with("</tool_call>")) << *text;
  }
  EXPECT_GT(ended, 4);
}

}  // namespace
}  // namespace glimpse
