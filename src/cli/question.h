#pragma once

// One question from picture files and text to token ids and back: what `ask` does, without its options and output.

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/latency.h"
#include "bundle/model_source.h"
#include "engine/generator.h"
#include "engine/runner.h"
#include "image/picture_block.h"
#include "sampling/params.h"

namespace glimpse {

struct Question {
  std::vector<std::string> images;  // files, in the order the model sees them
  std::string text;
  bool think = false;
  std::optional<std::vector<int32_t>> prompt_ids;  // instead of text: ids with the image tokens expanded
  SamplingParams sampling;
  int32_t max_tokens = 1024;
  bool ignore_eos = false;
  bool keep_logits = false;
};

struct Answer {
  std::string text;
  std::string reasoning;
  std::vector<int32_t> prompt_ids;
  std::vector<int32_t> output_ids;
  FinishReason reason = FinishReason::kLength;
  std::vector<SampledToken> tokens;  // with sampling.logprobs: one for each output id that is text
  std::vector<float> logits;         // with keep_logits: [steps, vocab], of the steps whose token is text
};

// Text as it becomes certain; `reasoning` tells thinking from answer.
using TextCallback = std::function<void(std::string_view text, bool reasoning)>;

class Asker {
 public:
  Asker(const ModelSource& source, Runner& runner, const Clock& clock)
      : source_(source), runner_(runner), clock_(clock), generator_(runner, clock) {}

  // Errors name the picture's file. Every span of the account is recorded but its end.
  Result<Answer> ask(const Question& question, LatencyAccount& account, const TextCallback& on_text);

 private:
  struct Picture {
    ImageScratch scratch;
    PictureBlock block;
    Buffer memory;  // of the block
    PreparedImage prepared;
  };

  Status prepare_picture(const std::string& path, Picture& picture, LatencyAccount& account);
  Result<int64_t> make_pixels(std::span<const std::byte> encoded, PatchFormat format, Picture& picture);
  Result<Prompt> build_prompt(const Question& question, std::span<const PreparedImage> images);

  const ModelSource& source_;
  Runner& runner_;
  const Clock& clock_;
  Generator generator_;
  std::vector<Picture> pictures_;  // buffers are kept from question to question
};

}  // namespace glimpse
