#pragma once

#include "api/choice.h"
#include "api/tool_call_parser.h"
#include "processor/output_parser.h"

namespace glimpse {

// Responder for /v1/chat/completions.
class ChatResponder final : public Responder {
 public:
  ChatResponder(const ChatRequest& request, const BuiltPrompt& built, const ApiModel& model, Identity identity);

  Progress push(int index, const EngineEvent& event, std::string& out, bool hold) override;
  void finish(const ResponseEnd& end, std::string& out) override;
  const ApiError* failure() const override { return failure_ ? &*failure_ : nullptr; }
  Usage usage() const override;
  std::string_view content() const override { return choices_.front().content; }

 private:
  struct Call {
    std::string id;
    std::string name;
    std::string arguments;
  };
  struct ChatChoice : Choice {
    ChatChoice(const ChatRequest& request, bool starts_in_reasoning, const ToolSet& tools, const ApiModel& model);

    OutputParser parser;
    ToolCallParser tools;
    std::string content;    // so far, as the client got it
    std::string reasoning;  // kept without streaming only
    std::vector<Call> calls;
    // Of the event being handled; buffers are kept.
    std::string new_reasoning;
    ToolParserOutput new_text;
  };

  void take_text(ChatChoice& choice, std::string_view text, bool is_end);
  void append_chunks(int index, ChatChoice& choice, std::string& out);
  void open_chunk(int index, std::string& out) const;
  void close_chunk(ChatChoice& choice, bool is_final, std::string& out);
  void end_chunk(std::string& out);
  void append_call(const ChatChoice& choice, const ToolCallDelta& delta, std::string& out) const;
  void append_message(const ChatChoice& choice, std::string& out) const;
  void append_final_chunk(int index, ChatChoice& choice, const ResponseEnd* end, std::string& out);

  const ChatRequest request_;  // without messages
  const ApiModel& model_;
  const Identity identity_;
  std::string head_;              // of every chunk, up to the choice's index
  std::string prompt_token_ids_;  // with return_token_ids
  int64_t prompt_tokens_;
  int64_t image_tokens_;
  std::vector<ChatChoice> choices_;
  size_t num_done_ = 0;
  int last_done_ = 0;
  std::optional<ApiError> failure_;
};

}  // namespace glimpse
