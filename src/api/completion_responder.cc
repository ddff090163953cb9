#include "api/completion_responder.h"

namespace glimpse {

CompletionResponder::CompletionResponder(const CompletionRequest& request, std::span<const BuiltPrompt> built,
                                         const ApiModel& model, Identity identity)
    : fields_(request.generation),
      model_(model),
      head_(response_head(identity, "text_completion", request.generation.model)) {
  choices_.reserve(built.size() * static_cast<size_t>(fields_.n));
  for (size_t p = 0; p < built.size(); ++p) {
    prompt_tokens_ += built[p].prompt.num_tokens();
    std::string echo;
    if (request.echo) {
      if (const auto* text = std::get_if<std::string>(&request.prompts[p])) {
        echo = *text;
      } else {
        for (const int32_t id : std::get<std::vector<int32_t>>(request.prompts[p])) echo += token_text(id, model);
      }
    }
    for (int i = 0; i < fields_.n; ++i) {
      choices_.emplace_back(fields_, false, model);
      choices_.back().new_text = echo;
    }
  }
}

Responder::Usage CompletionResponder::usage() const {
  Usage usage{.prompt_tokens = prompt_tokens_};
  for (size_t i = 0; i < choices_.size(); ++i) {
    usage.completion_tokens += choices_[i].completion_tokens;
    usage.reasoning_tokens += choices_[i].reasoning_tokens;
    if (i % static_cast<size_t>(fields_.n) == 0) usage.cached_tokens += choices_[i].cached_tokens;
  }
  return usage;
}

Responder::Progress CompletionResponder::push(int index, const EngineEvent& event, std::string& out, bool hold) {
  TextChoice& choice = choices_.at(static_cast<size_t>(index));
  if (choice.done) return {.all_done = num_done_ == choices_.size()};
  if (auto failed = failure_of(event)) failure_ = std::move(failed);
  const bool done =
      take_tokens(choice, event, fields_, model_, [&](std::string_view text) { choice.new_text += text; });
  hold = hold && !done && choice.may_hold(choice.new_text.size());
  if (!hold) {
    choice.content += choice.new_text;
    if (fields_.stream && !choice.new_text.empty()) append_chunk(index, choice, choice.new_text, nullptr, false, out);
    choice.new_text.clear();
  }
  Progress progress;
  if (!done) return progress;
  ++num_done_;
  last_done_ = index;
  progress.cancel = !event.finish.has_value();
  progress.choice_done = true;
  progress.all_done = num_done_ == choices_.size();
  if (fields_.stream && !progress.all_done) append_chunk(index, choice, {}, nullptr, true, out);
  return progress;
}

void CompletionResponder::append_choice(int index, TextChoice& choice, std::string_view text, bool is_final,
                                        std::string& out) {
  out += "{\"index\":";
  append_json_number(int64_t{index}, out);
  out += ",\"text\":";
  append_json_string(text, out);
  append_outcome(choice, is_final, fields_, out);
  out += '}';
}

void CompletionResponder::append_chunk(int index, TextChoice& choice, std::string_view text, const ResponseEnd* end,
                                       bool is_final, std::string& out) {
  out += "data: {";
  out += head_;
  out += ",\"choices\":[";
  append_choice(index, choice, text, is_final, out);
  out += ']';
  if (end != nullptr) append_latency(*end, usage(), out);
  append_chunk_usage(fields_, usage(), out);
  out += "}\n\n";
}

void CompletionResponder::finish(const ResponseEnd& end, std::string& out) {
  const Usage total = usage();
  if (fields_.stream) {
    append_chunk(last_done_, choices_[static_cast<size_t>(last_done_)], {}, fields_.include_usage ? nullptr : &end,
                 true, out);
    append_stream_end(head_, fields_, end, total, out);
    return;
  }
  out += '{';
  out += head_;
  out += ",\"choices\":[";
  for (size_t i = 0; i < choices_.size(); ++i) {
    if (i > 0) out += ',';
    append_choice(static_cast<int>(i), choices_[i], choices_[i].content, true, out);
  }
  out += "],\"usage\":";
  append_usage(total, out);
  append_latency(end, total, out);
  out += '}';
}

}  // namespace glimpse
