#pragma once

// Tool calls in the text that GLM models write:
//
//   <tool_call>get_weather
//   <arg_key>city</arg_key>
//   <arg_value>Paris</arg_value>
//   </tool_call>
//
// with or without the newlines (GLM-4.7 writes none), and the older forms with JSON between the same tags:
// {"name": …, "arguments": {…}}, or the name on a line and the arguments as an object after it.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "api/tools.h"

namespace glimpse {

struct ToolCallDelta {
  int index = 0;
  std::string name;       // with the first delta of a call; then empty
  std::string arguments;  // a piece of the arguments' JSON text
};

struct ToolParserOutput {
  std::string content;
  std::vector<ToolCallDelta> calls;  // in order; one entry per call and push

  void clear() {
    content.clear();
    calls.clear();
  }
};

// Feed text in pieces cut anywhere; what comes out, joined, does not depend on the cuts. Arguments of type string are
// passed on while they are written, others when they are complete, as JSON if they are JSON of a type that the tool's
// schema allows, else as a string. The pieces of a call's arguments always add up to a JSON object, also when the text
// ends early. What cannot be a call (no such tool, no arguments where they should be) is content, as it was written.
// White space between calls, and between content and a call, is dropped.
class ToolCallParser {
 public:
  explicit ToolCallParser(const ToolSet& tools) : tools_(&tools) {}  // borrowed

  void push(std::string_view text, ToolParserOutput& out);
  void finish(ToolParserOutput& out);
  int num_calls() const { return num_calls_; }

 private:
  enum class State { kText, kHead, kJson, kArguments, kKey, kValueTag, kValue };
  enum class ValueType { kString, kJson, kEither };

  bool step(bool is_end, ToolParserOutput& out);
  bool text(bool is_end, ToolParserOutput& out);
  bool head(bool is_end, ToolParserOutput& out);
  bool whole_json(bool is_end, ToolParserOutput& out);
  bool arguments(bool is_end, ToolParserOutput& out);
  bool key(bool is_end, ToolParserOutput& out);
  bool value_tag(bool is_end, ToolParserOutput& out);
  bool value(bool is_end, ToolParserOutput& out);

  void begin_call(std::string_view name, ToolParserOutput& out);
  void close_call(ToolParserOutput& out);
  void give_up(ToolParserOutput& out);
  void append_arguments(std::string_view json, ToolParserOutput& out);
  ToolCallDelta& delta(ToolParserOutput& out);
  void emit_content(std::string_view text, ToolParserOutput& out);
  ValueType type_of(std::string_view key) const;

  const ToolSet* tools_;
  State state_ = State::kText;
  std::string held_;    // not taken apart yet
  std::string spaces_;  // white space at the end of the content so far
  std::string name_;    // of the call being read
  std::string key_;
  ValueType value_type_ = ValueType::kString;
  int num_calls_ = 0;
  int num_arguments_ = 0;
};

}  // namespace glimpse
