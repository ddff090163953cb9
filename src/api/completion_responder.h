#pragma once

#include "api/choice.h"

namespace glimpse {

// Responder for /v1/completions: the text as it is, without special tokens.
class CompletionResponder final : public Responder {
 public:
  CompletionResponder(const CompletionRequest& request, std::span<const BuiltPrompt> built, const ApiModel& model,
                      Identity identity);

  Progress push(int index, const EngineEvent& event, std::string& out, bool hold) override;
  void finish(const ResponseEnd& end, std::string& out) override;
  const ApiError* failure() const override { return failure_ ? &*failure_ : nullptr; }
  Usage usage() const override;
  std::string_view content() const override { return choices_.front().content; }

 private:
  struct TextChoice : Choice {
    using Choice::Choice;
    std::string content;   // so far
    std::string new_text;  // of the event being handled
  };

  void append_choice(int index, TextChoice& choice, std::string_view text, bool is_final, std::string& out);
  void append_chunk(int index, TextChoice& choice, std::string_view text, const ResponseEnd* end, bool is_final,
                    std::string& out);

  const GenerationFields fields_;
  const ApiModel& model_;
  std::string head_;
  int64_t prompt_tokens_ = 0;
  std::vector<TextChoice> choices_;
  size_t num_done_ = 0;
  int last_done_ = 0;
  std::optional<ApiError> failure_;
};

}  // namespace glimpse
