#include "api/choice.h"

#include <string_view>

namespace glimpse {

namespace {

int64_t count_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

std::string shown(int32_t id, bool as_id, const ApiModel& model) {
  return as_id ? "token_id:" + std::to_string(id) : token_text(id, model);
}

}  // namespace

// Chat: "token":…,"logprob":…,"bytes":[…]
void LogprobsWriter::append_token(int32_t id, float logprob, std::string& out) const {
  out += "\"token\":";
  append_json_string(shown(id, ids_as_text_, *model_), out);
  out += ",\"logprob\":";
  append_json_number(logprob, out);
  out += ",\"bytes\":[";
  bool first = true;
  for (const char c : model_->token_bytes(id)) {
    if (!first) out += ',';
    first = false;
    append_json_number(int64_t{static_cast<unsigned char>(c)}, out);
  }
  out += ']';
}

void LogprobsWriter::add(const SampledToken& token) {
  const bool first = tokens_.empty();
  if (chat_) {
    tokens_ += first ? "{" : ",{";
    append_token(token.id, token.logprob, tokens_);
    tokens_ += ",\"top_logprobs\":[";
    for (size_t i = 0; i < token.top_logprobs.size(); ++i) {
      tokens_ += i == 0 ? "{" : ",{";
      append_token(token.top_logprobs[i].first, token.top_logprobs[i].second, tokens_);
      tokens_ += '}';
    }
    tokens_ += "]}";
    return;
  }
  for (std::string* list : {&tokens_, &logprobs_, &tops_, &offsets_}) {
    if (!first) *list += ',';
  }
  const std::string text = shown(token.id, ids_as_text_, *model_);
  append_json_string(text, tokens_);
  append_json_number(token.logprob, logprobs_);
  append_json_number(offset_, offsets_);
  offset_ += count_characters(text);
  tops_ += '{';
  for (size_t i = 0; i < token.top_logprobs.size(); ++i) {
    if (i > 0) tops_ += ',';
    append_json_string(shown(token.top_logprobs[i].first, ids_as_text_, *model_), tops_);
    tops_ += ':';
    append_json_number(token.top_logprobs[i].second, tops_);
  }
  tops_ += '}';
}

void LogprobsWriter::take(std::string& out) {
  if (chat_) {
    out += "{\"content\":[";
    out += tokens_;
    out += "],\"refusal\":null}";
  } else {
    out += "{\"tokens\":[";
    out += tokens_;
    out += "],\"token_logprobs\":[";
    out += logprobs_;
    out += "],\"top_logprobs\":[";
    out += tops_;
    out += "],\"text_offset\":[";
    out += offsets_;
    out += "]}";
  }
  for (std::string* list : {&tokens_, &logprobs_, &tops_, &offsets_}) list->clear();
}

std::optional<ApiError> failure_of(const EngineEvent& event) {
  if (!event.finish) return std::nullopt;
  switch (*event.finish) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      return std::nullopt;
    case FinishReason::kCancelled:
      return unavailable("the request was cancelled before it was finished", 1);
    case FinishReason::kDeadline:
      return unavailable("the request was not finished within its time limit", 1);
    case FinishReason::kFailed:
      return http_error(500, "the server failed to answer this request");
  }
  return std::nullopt;
}

std::string response_head(const Responder::Identity& identity, std::string_view object, const std::string& model) {
  std::string head = "\"id\":";
  append_json_string(identity.id, head);
  head += ",\"object\":";
  append_json_string(object, head);
  head += ",\"created\":" + std::to_string(identity.created_s) + ",\"model\":";
  append_json_string(model, head);
  head += ",\"system_fingerprint\":";
  append_json_string(identity.fingerprint, head);
  return head;
}

void append_outcome(Choice& choice, bool is_final, const GenerationFields& fields, std::string& out) {
  out += ",\"logprobs\":";
  if (choice.logprobs.empty()) {
    out += "null";
  } else {
    choice.logprobs.take(out);
  }
  out += ",\"finish_reason\":";
  if (is_final) {
    append_json_string(choice.finish_reason, out);
    out += ",\"stop_reason\":";
    out += choice.stop_reason;
  } else {
    out += "null";
  }
  if (!fields.return_token_ids) return;
  out += ",\"token_ids\":[";
  out += choice.token_ids;
  out += ']';
  choice.token_ids.clear();
}

void append_usage(const Responder::Usage& usage, std::string& out) {
  const auto field = [&out](std::string_view key, int64_t value) {
    out += key;
    append_json_number(value, out);
  };
  field("{\"prompt_tokens\":", usage.prompt_tokens);
  field(",\"completion_tokens\":", usage.completion_tokens);
  field(",\"total_tokens\":", usage.prompt_tokens + usage.completion_tokens);
  field(",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_tokens);
  field(",\"image_tokens\":", usage.image_tokens);
  field("},\"completion_tokens_details\":{\"reasoning_tokens\":", usage.reasoning_tokens);
  out += "}}";
}

void append_chunk_usage(const GenerationFields& fields, const Responder::Usage& usage, std::string& out) {
  if (fields.continuous_usage_stats) {
    out += ",\"usage\":";
    append_usage(usage, out);
  } else if (fields.include_usage) {
    out += ",\"usage\":null";
  }
}

void append_stream_end(std::string_view head, const GenerationFields& fields, const ResponseEnd& end,
                       const Responder::Usage& usage, std::string& out) {
  if (fields.include_usage) {
    out += "data: {";
    out += head;
    out += ",\"choices\":[],\"usage\":";
    append_usage(usage, out);
    append_latency(end, usage, out);
    out += "}\n\n";
  }
  out += "data: [DONE]\n\n";
}

// latency: the account with its counts (docs/latency-account.md); timings: the names that llama.cpp's clients read.
void append_latency(const ResponseEnd& end, const Responder::Usage& usage, std::string& out) {
  if (end.account == nullptr) return;
  json::object latency = end.account->to_json();
  // On the clock that the WebSocket's events and its clock messages tell, so that a client can join it with its own.
  latency["arrival_ms"] = static_cast<double>(end.account->arrival_ns() / 1000) / 1e3;
  latency["prompt_tokens"] = usage.prompt_tokens;
  latency["cached_tokens"] = usage.cached_tokens;
  latency["image_tokens"] = usage.image_tokens;
  latency["image_cache_hits"] = end.image_cache_hits;
  latency["answer_cache_hits"] = end.answer_cache_hits;
  latency["completion_tokens"] = usage.completion_tokens;
  out += ",\"latency\":";
  out += to_text(latency);

  const LatencyAccount::Summary summary = end.account->summarize();
  const auto ms = [&](Span span) {
    return static_cast<double>(summary.spans[static_cast<size_t>(span)].exclusive_ns) / 1e6;
  };
  const auto per_second = [](int64_t count, double milliseconds) {
    return milliseconds > 0 ? static_cast<double>(count) * 1e3 / milliseconds : 0.0;
  };
  const double prompt_ms = ms(Span::kVision) + ms(Span::kPrefill) + ms(Span::kFirstToken);
  const int64_t prompt_n = usage.prompt_tokens - usage.cached_tokens;
  const int64_t predicted_n = std::max<int64_t>(usage.completion_tokens - 1, 0);  // the first is the prompt's
  out += ",\"timings\":";
  out += to_text(json::object{{"cache_n", usage.cached_tokens},
                              {"prompt_n", prompt_n},
                              {"prompt_ms", prompt_ms},
                              {"prompt_per_second", per_second(prompt_n, prompt_ms)},
                              {"predicted_n", usage.completion_tokens},
                              {"predicted_ms", ms(Span::kDecode)},
                              {"predicted_per_second", per_second(predicted_n, ms(Span::kDecode))}});
}

}  // namespace glimpse
