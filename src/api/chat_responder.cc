#include "api/chat_responder.h"

namespace glimpse {

namespace {

// The parts of the request that shape the response; a conversation may be megabytes.
ChatRequest without_messages(const ChatRequest& request) {
  ChatRequest copy;
  copy.generation = request.generation;
  copy.tools = request.tools;
  copy.reasoning_format = request.reasoning_format;
  copy.include_reasoning = request.include_reasoning;
  copy.echo = request.echo;
  return copy;
}

OutputParserOptions parser_options(const ChatRequest& request, bool starts_in_reasoning) {
  // Reasoning that is not to be shown has to be told apart first.
  const bool split = request.reasoning_format == ReasoningFormat::kSplit || !request.include_reasoning;
  const bool keep_tags = !request.generation.skip_special_tokens;
  return {.split_reasoning = split,
          .starts_in_reasoning = starts_in_reasoning,
          .strip_boxes = !keep_tags,
          .strip_answer_tags = split && !keep_tags};
}

std::string final_text(const ChatRequest& request) {
  if (!request.echo || request.messages.empty()) return {};
  const json::value* content = find(request.messages.back().as_object(), "content");
  return content != nullptr && content->is_string() ? std::string(content->get_string()) : std::string();
}

// 24 hex digits that differ between all calls of all responses, as far as seeds do (FNV-1a, then SplitMix64).
std::string call_id(std::string_view seed, int choice, int index) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : seed) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  hash += static_cast<uint64_t>(choice) << 32 | static_cast<uint64_t>(index);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string id = "call_";
  for (int word = 0; word < 2; ++word) {
    hash += 0x9e3779b97f4a7c15;
    uint64_t mixed = hash;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    mixed ^= mixed >> 31;
    for (int digit = 0; digit < 12; ++digit, mixed >>= 4) id += kHex[mixed & 15];
  }
  return id;
}

}  // namespace

ChatResponder::ChatChoice::ChatChoice(const ChatRequest& request, bool starts_in_reasoning, const ToolSet& tool_set,
                                      const ApiModel& model)
    : Choice(request.generation, true, model), parser(parser_options(request, starts_in_reasoning)), tools(tool_set) {
  in_reasoning = starts_in_reasoning;
}

ChatResponder::ChatResponder(const ChatRequest& request, const BuiltPrompt& built, const ApiModel& model,
                             Identity identity)
    : request_(without_messages(request)),
      model_(model),
      identity_(std::move(identity)),
      head_(response_head(identity_, request.generation.stream ? "chat.completion.chunk" : "chat.completion",
                          request.generation.model)),
      prompt_tokens_(built.prompt.num_tokens()),
      image_tokens_(built.image_tokens) {
  if (request.generation.return_token_ids) {
    for (const int32_t id : built.prompt.token_ids) {
      prompt_token_ids_ += (prompt_token_ids_.empty() ? "" : ",") + std::to_string(id);
    }
  }
  choices_.reserve(static_cast<size_t>(request.generation.n));
  for (int i = 0; i < request.generation.n; ++i) {
    choices_.emplace_back(request_, built.starts_in_reasoning, request_.tools, model);
    if (request.echo) choices_.back().new_text.content = final_text(request);
  }
}

Responder::Usage ChatResponder::usage() const {
  Usage usage{.prompt_tokens = prompt_tokens_, .image_tokens = image_tokens_};
  for (const ChatChoice& choice : choices_) {
    usage.completion_tokens += choice.completion_tokens;
    usage.reasoning_tokens += choice.reasoning_tokens;
  }
  usage.cached_tokens = choices_.front().cached_tokens;
  return usage;
}

Responder::Progress ChatResponder::push(int index, const EngineEvent& event, std::string& out, bool hold) {
  ChatChoice& choice = choices_.at(static_cast<size_t>(index));
  if (choice.done) return {.all_done = num_done_ == choices_.size()};
  if (auto failed = failure_of(event)) failure_ = std::move(failed);
  const bool done = take_tokens(choice, event, request_.generation, model_,
                                [&](std::string_view text) { take_text(choice, text, false); });
  if (done) take_text(choice, {}, true);
  if (done && !choice.calls.empty() && choice.finish_reason == "stop") choice.finish_reason = "tool_calls";
  hold = hold && !done && choice.new_text.calls.empty() &&
         choice.may_hold(choice.new_text.content.size() + choice.new_reasoning.size());
  if (request_.generation.stream && !hold) append_chunks(index, choice, out);
  Progress progress;
  if (!done) return progress;
  ++num_done_;
  last_done_ = index;
  progress.cancel = !event.finish.has_value();
  progress.choice_done = true;
  progress.all_done = num_done_ == choices_.size();
  // The last one's end waits for finish(), which knows the time it took.
  if (request_.generation.stream && !progress.all_done) append_final_chunk(index, choice, nullptr, out);
  return progress;
}

void ChatResponder::take_text(ChatChoice& choice, std::string_view text, bool is_end) {
  if (text.empty() && !is_end) return;
  const OutputPiece piece = is_end ? choice.parser.finish() : choice.parser.push(text);
  if (request_.include_reasoning) choice.new_reasoning += piece.reasoning;
  if (!request_.tools.active()) {
    choice.new_text.content += piece.answer;
  } else if (is_end) {
    choice.tools.push(piece.answer, choice.new_text);
    choice.tools.finish(choice.new_text);
  } else {
    choice.tools.push(piece.answer, choice.new_text);
  }
  for (const ToolCallDelta& delta : choice.new_text.calls) {
    if (static_cast<size_t>(delta.index) < choice.calls.size()) continue;
    const auto at = static_cast<int>(&choice - choices_.data());
    choice.calls.push_back(
        {call_id(identity_.call_seed.empty() ? identity_.id : identity_.call_seed, at, delta.index), delta.name, {}});
  }
  if (request_.generation.stream) return;
  choice.content += choice.new_text.content;
  choice.reasoning += choice.new_reasoning;
  for (const ToolCallDelta& delta : choice.new_text.calls) {
    choice.calls[static_cast<size_t>(delta.index)].arguments += delta.arguments;
  }
  choice.new_text.clear();
  choice.new_reasoning.clear();
}

void ChatResponder::open_chunk(int index, std::string& out) const {
  out += "data: {";
  out += head_;
  out += ",\"choices\":[{\"index\":";
  append_json_number(int64_t{index}, out);
  out += ",\"delta\":{";
}

// From behind the delta's fields to behind the choices.
void ChatResponder::close_chunk(ChatChoice& choice, bool is_final, std::string& out) {
  out += '}';
  append_outcome(choice, is_final, request_.generation, out);
  out += "}]";
}

void ChatResponder::end_chunk(std::string& out) {
  append_chunk_usage(request_.generation, usage(), out);
  if (!prompt_token_ids_.empty()) {  // with the first chunk, once
    out += ",\"prompt_token_ids\":[" + prompt_token_ids_ + "]";
    prompt_token_ids_.clear();
  }
  out += "}\n\n";
}

void ChatResponder::append_call(const ChatChoice& choice, const ToolCallDelta& delta, std::string& out) const {
  out += "{\"index\":";
  append_json_number(int64_t{delta.index}, out);
  if (!delta.name.empty()) {
    out += ",\"id\":";
    append_json_string(choice.calls[static_cast<size_t>(delta.index)].id, out);
    out += ",\"type\":\"function\",\"function\":{\"name\":";
    append_json_string(delta.name, out);
    out += ",\"arguments\":";
  } else {
    out += ",\"function\":{\"arguments\":";
  }
  append_json_string(delta.arguments, out);
  out += "}}";
}

// What this event brought, in one chunk; further calls have one each, because clients read the first of a chunk.
void ChatResponder::append_chunks(int index, ChatChoice& choice, std::string& out) {
  const std::string& content = choice.new_text.content;
  const auto& calls = choice.new_text.calls;
  if (content.empty() && choice.new_reasoning.empty() && calls.empty()) return;
  open_chunk(index, out);
  bool first = true;
  const auto field = [&](std::string_view name) {
    if (!first) out += ',';
    first = false;
    out += name;
  };
  if (!choice.begun) field("\"role\":\"assistant\"");
  choice.begun = true;
  if (!choice.new_reasoning.empty()) {
    field("\"reasoning_content\":");
    append_json_string(choice.new_reasoning, out);
    field("\"reasoning\":");
    append_json_string(choice.new_reasoning, out);
  }
  if (!content.empty()) {
    field("\"content\":");
    append_json_string(content, out);
    choice.content += content;
  }
  if (!calls.empty()) {
    field("\"tool_calls\":[");
    append_call(choice, calls.front(), out);
    out += ']';
  }
  close_chunk(choice, false, out);
  end_chunk(out);
  for (size_t i = 1; i < calls.size(); ++i) {
    open_chunk(index, out);
    out += "\"tool_calls\":[";
    append_call(choice, calls[i], out);
    out += ']';
    close_chunk(choice, false, out);
    end_chunk(out);
  }
  choice.new_text.clear();
  choice.new_reasoning.clear();
}

void ChatResponder::append_final_chunk(int index, ChatChoice& choice, const ResponseEnd* end, std::string& out) {
  open_chunk(index, out);
  if (!choice.begun) out += "\"role\":\"assistant\",\"content\":\"\"";
  choice.begun = true;
  close_chunk(choice, true, out);
  if (end != nullptr) append_latency(*end, usage(), out);
  end_chunk(out);
}

void ChatResponder::append_message(const ChatChoice& choice, std::string& out) const {
  out += "{\"role\":\"assistant\",\"content\":";
  if (choice.content.empty() && !choice.calls.empty()) {
    out += "null";
  } else {
    append_json_string(choice.content, out);
  }
  out += ",\"refusal\":null";
  if (!choice.reasoning.empty()) {
    out += ",\"reasoning_content\":";
    append_json_string(choice.reasoning, out);
    out += ",\"reasoning\":";
    append_json_string(choice.reasoning, out);
  }
  if (!choice.calls.empty()) {
    out += ",\"tool_calls\":[";
    for (size_t i = 0; i < choice.calls.size(); ++i) {
      out += i == 0 ? "{\"id\":" : ",{\"id\":";
      append_json_string(choice.calls[i].id, out);
      out += ",\"type\":\"function\",\"function\":{\"name\":";
      append_json_string(choice.calls[i].name, out);
      out += ",\"arguments\":";
      append_json_string(choice.calls[i].arguments, out);
      out += "}}";
    }
    out += ']';
  }
  out += '}';
}

void ChatResponder::finish(const ResponseEnd& end, std::string& out) {
  const Usage total = usage();
  if (request_.generation.stream) {
    // The choice that was done last has its final chunk still to come; with one choice that is the only one.
    const bool apart = request_.generation.include_usage;
    append_final_chunk(last_done_, choices_[static_cast<size_t>(last_done_)], apart ? nullptr : &end, out);
    append_stream_end(head_, request_.generation, end, total, out);
    return;
  }
  out += '{';
  out += head_;
  out += ",\"service_tier\":null,\"choices\":[";
  for (size_t i = 0; i < choices_.size(); ++i) {
    ChatChoice& choice = choices_[i];
    out += i == 0 ? "{\"index\":" : ",{\"index\":";
    append_json_number(static_cast<int64_t>(i), out);
    out += ",\"message\":";
    append_message(choice, out);
    append_outcome(choice, true, request_.generation, out);
    out += '}';
  }
  out += "],\"usage\":";
  append_usage(total, out);
  if (request_.generation.return_token_ids) out += ",\"prompt_token_ids\":[" + prompt_token_ids_ + "]";
  append_latency(end, total, out);
  out += '}';
}

}  // namespace glimpse
