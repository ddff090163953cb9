#include "api/answer_text.h"

namespace glimpse {

AnswerText::AnswerText(const GenerationFields& fields, const ApiModel& model)
    : model_(&model),
      skip_special_(fields.skip_special_tokens),
      include_stop_(fields.include_stop_str_in_output),
      detokenizer_(model.source().tokenizer, false),
      stop_(fields.sampling.stop) {}

std::string_view AnswerText::push(int32_t model_id) {
  if (stop_.stopped()) return {};
  const auto id = model_->source().to_tokenizer_id(model_id);
  if (!id) {
    text_ = "⟨" + std::to_string(model_id) + "⟩";
    return certain(stop_.push(text_));
  }
  // Tags of the answer's structure reach the parsers whatever the tokenizer calls them; a checkpoint saved anew may
  // flag all its added tokens special.
  if (skip_special_ && model_->source().tokenizer.is_special(*id) && !model_->is_structural(*id)) return {};
  return certain(stop_.push(detokenizer_.push(*id)));
}

std::string_view AnswerText::finish() {
  if (stop_.stopped()) return {};
  text_ = certain(stop_.push(detokenizer_.finish()));
  if (!stop_.stopped()) text_ += stop_.finish();
  return text_;
}

std::string_view AnswerText::certain(StopMatcher::Output output) {
  if (!output.stopped || !include_stop_) return output.text;
  text_.assign(output.text);
  text_ += stop_.matched();
  return text_;
}

}  // namespace glimpse
