#include "processor/output_parser.h"

#include <gtest/gtest.h>

namespace glimpse {
namespace {

struct Case {
  const char* written;
  const char* reasoning;
  const char* answer;
  OutputParserOptions options = {};
};

const Case kCases[] = {
    {"hello", "", "hello"},
    {"\n<think>why\nso</think>\nbecause", "why\nso", "because"},
    {"<think>\n\nwhy\n\n</think>\n\n a\n", "why", " a\n"},
    {"<think></think>\nanswer", "", "answer"},
    {"<think>never closed\n", "never closed", ""},
    {"a <think>b</think>", "", "a <think>b</think>"},
    {"<thin", "", "<thin"},
    {"x<|begin_of_box|>[1, 2]<|end_of_box|>.", "", "x[1, 2]."},
    {"<think>a<|begin_of_box|>b</thinkk></think>c</think><|end_of_", "a<|begin_of_box|>b</thinkk>",
     "c</think><|end_of_"},
    {"<think>th</think><answer>A<|end_of_box|></answer>", "th", "A", {.strip_answer_tags = true}},
    {"<think>th</think><answer>A</answer>", "th", "<answer>A</answer>"},
    {"\n<think>th</think><answer>A</answer>", "", "\n<think>th</think><answer>A</answer>", {.split_reasoning = false}},
    {"why</think>\n你好，世界", "why", "你好，世界", {.starts_in_reasoning = true}},
    {"<|begin_of_box|>\n7<|end_of_box|>", "", "<|begin_of_box|>\n7<|end_of_box|>", {.strip_boxes = false}},
    {" <<think>a", "", "<<think>a"},
    {"  \n ", "", ""},
    {"", "", ""},
    {"\n</think>\nHi", "", "Hi"},
    {"a</think>b", "", "a</think>b"},
};

TEST(OutputParser, GivesTheSameHoweverItIsCut) {
  for (const Case& each : kCases) {
    const std::string written = each.written;
    // All ways to cut it into three pieces, then byte by byte.
    for (size_t first = 0; first <= written.size(); ++first) {
      for (size_t second = first; second <= written.size(); ++second) {
        OutputParser parser(each.options);
        std::string reasoning;
        std::string answer;
        for (const std::string& piece :
             {written.substr(0, first), written.substr(first, second - first), written.substr(second)}) {
          const OutputPiece out = parser.push(piece);
          reasoning += out.reasoning;
          answer += out.answer;
        }
        const OutputPiece rest = parser.finish();
        ASSERT_EQ(reasoning + rest.reasoning, each.reasoning) << written << " cut at " << first << ", " << second;
        ASSERT_EQ(answer + rest.answer, each.answer) << written << " cut at " << first << ", " << second;
      }
    }
    OutputParser parser(each.options);
    OutputPiece all;
    for (const char byte : written) {
      const OutputPiece out = parser.push(std::string(1, byte));
      all.reasoning += out.reasoning;
      all.answer += out.answer;
    }
    const OutputPiece rest = parser.finish();
    EXPECT_EQ(all.reasoning + rest.reasoning, each.reasoning);
    EXPECT_EQ(all.answer + rest.answer, each.answer);
  }
}

TEST(OutputParser, HoldsBackNoMoreThanItMust) {
  OutputParser parser({});
  EXPECT_EQ(parser.push("\n<think>abc").reasoning, "abc");
  EXPECT_EQ(parser.push("d</thi").reasoning, "d");
  EXPECT_EQ(parser.push("nk>\nx").answer, "x");
  EXPECT_EQ(parser.push("y <").answer, "y ");
  EXPECT_EQ(parser.push("3").answer, "<3");
}

}  // namespace
}  // namespace glimpse
