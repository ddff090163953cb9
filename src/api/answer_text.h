#pragma once

#include <string>
#include <string_view>

#include "api/generation_fields.h"
#include "sampling/stop.h"
#include "tokenizer/detokenizer.h"

namespace glimpse {

// An answer's tokens to its text, up to a stop string. Borrows the model.
class AnswerText {
 public:
  AnswerText(const GenerationFields& fields, const ApiModel& model);

  // What became certain with this token; valid until the next call. Nothing after stopped().
  std::string_view push(int32_t model_id);
  // At the end of an answer that no stop string ended: what was held back.
  std::string_view finish();

  bool stopped() const { return stop_.stopped(); }
  const std::string& stop_string() const { return stop_.matched(); }

 private:
  std::string_view certain(StopMatcher::Output output);

  const ApiModel* model_;
  bool skip_special_;
  bool include_stop_;
  Detokenizer detokenizer_;
  StopMatcher stop_;
  std::string text_;
};

}  // namespace glimpse
