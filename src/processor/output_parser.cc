#include "processor/output_parser.h"

#include <algorithm>

#include "processor/partial_tag.h"

namespace glimpse {

namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";
constexpr std::string_view kBox = "<|begin_of_box|>";
constexpr std::string_view kEndBox = "<|end_of_box|>";
constexpr std::string_view kAnswer = "<answer>";
constexpr std::string_view kEndAnswer = "</answer>";

}  // namespace

OutputParser::OutputParser(const OutputParserOptions& options)
    : options_(options),
      state_(!options.split_reasoning      ? State::kAnswer
             : options.starts_in_reasoning ? State::kReasoning
                                           : State::kStart),
      trim_start_(options.split_reasoning) {}

std::vector<std::string_view> OutputParser::tags() const {
  if (state_ == State::kReasoning) return {kEndThink};
  std::vector<std::string_view> active;
  if (state_ == State::kStart) {
    active.push_back(kThink);
    active.push_back(kEndThink);  // of a thought that the prompt opened and closed: no part of the answer
  }
  if (options_.strip_boxes) {
    active.push_back(kBox);
    active.push_back(kEndBox);
  }
  if (options_.strip_answer_tags) {
    active.push_back(kAnswer);
    active.push_back(kEndAnswer);
  }
  return active;
}

OutputPiece OutputParser::push(std::string_view text) {
  held_ += text;
  return drain(false);
}

OutputPiece OutputParser::finish() {
  OutputPiece out = drain(true);
  // Nothing follows: newlines at the end of an unfinished reasoning are dropped as they are before a "</think>".
  held_spaces_.clear();
  return out;
}

OutputPiece OutputParser::drain(bool is_end) {
  OutputPiece out;
  while (true) {
    const std::vector<std::string_view> active = tags();
    size_t at = std::string::npos;
    std::string_view tag;
    size_t partial = 0;
    for (const std::string_view each : active) {
      const size_t found = held_.find(each);
      if (found < at) {
        at = found;
        tag = each;
      }
      partial = std::max(partial, partial_tag(held_, each));
    }
    if (at == std::string::npos) {
      const size_t ready = is_end ? held_.size() : held_.size() - partial;
      const State before = state_;
      const std::string text = held_.substr(0, ready);
      emit(text, out);
      held_.erase(0, ready);
      // An answer that begins takes the opening tag out of the set, so what was held back for it may be free now.
      if (state_ == before || held_.empty()) return out;
      continue;
    }
    const std::string text = held_.substr(0, at);
    emit(text, out);
    held_.erase(0, at);
    // The text before it began the answer: it is part of that.
    if ((tag == kThink || tag == kEndThink) && state_ == State::kAnswer) continue;
    held_.erase(0, tag.size());
    switch_on(tag);
  }
}

void OutputParser::switch_on(std::string_view tag) {
  if (tag == kThink || tag == kEndThink) {
    state_ = tag == kThink ? State::kReasoning : State::kAnswer;
    trim_start_ = true;
    held_spaces_.clear();
  }
}

void OutputParser::emit(std::string_view text, OutputPiece& out) {
  if (trim_start_) {
    const size_t first = text.find_first_not_of(state_ == State::kStart ? "\n\r\t " : "\n");
    if (first == std::string_view::npos) return;
    text.remove_prefix(first);
    trim_start_ = false;
    if (state_ == State::kStart) state_ = State::kAnswer;
  }
  if (state_ != State::kReasoning) {
    out.answer += text;
    return;
  }
  const size_t last = text.find_last_not_of('\n');
  if (last == std::string_view::npos) {
    held_spaces_ += text;
    return;
  }
  out.reasoning += held_spaces_;
  out.reasoning += text.substr(0, last + 1);
  held_spaces_ = text.substr(last + 1);
}

}  // namespace glimpse
