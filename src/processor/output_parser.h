#pragma once

// What a model writes, taken apart while it streams: reasoning and answer, without the tags around them.

#include <string>
#include <string_view>
#include <vector>

namespace glimpse {

struct OutputPiece {
  std::string reasoning;
  std::string answer;
};

struct OutputParserOptions {
  bool split_reasoning = true;       // off: "<think>…</think>" stays in the answer (AutoGLM's client reads it there)
  bool starts_in_reasoning = false;  // the prompt ended in "<think>", so the text begins inside
  bool strip_boxes = true;           // <|begin_of_box|> and <|end_of_box|>
  bool strip_answer_tags = false;    // <answer> and </answer> (GLM-4.1V)
};

// Feed text in pieces of any size, cut anywhere, even inside a tag or a character: the pieces given back, joined, are
// the same. A "<think>" opens the reasoning only before any answer; white space before it is dropped, and so is a
// "</think>" there. Newlines around the reasoning and before the answer are dropped (not with split_reasoning off).
// What looks like the beginning of a tag is held back until it is clear (at most 18 bytes), newlines at the end of the
// reasoning too.
class OutputParser {
 public:
  explicit OutputParser(const OutputParserOptions& options);

  OutputPiece push(std::string_view text);
  // The rest: call once at the end.
  OutputPiece finish();

 private:
  enum class State { kStart, kReasoning, kAnswer };

  OutputPiece drain(bool is_end);
  void emit(std::string_view text, OutputPiece& out);
  void switch_on(std::string_view tag);
  std::vector<std::string_view> tags() const;

  OutputParserOptions options_;
  State state_;
  bool trim_start_;          // newlines at the beginning of this section are dropped
  std::string held_;         // maybe the beginning of a tag
  std::string held_spaces_;  // white space that is dropped if a tag ends the section
};

}  // namespace glimpse
