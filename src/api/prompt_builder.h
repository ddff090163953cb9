#pragma once

// Requests to prompts: the checkpoint's template, token ids, picture placeholders, positions.

#include <span>
#include <string>
#include <vector>

#include "api/chat_request.h"
#include "api/completion_request.h"
#include "engine/prompt.h"

namespace glimpse {

struct BuiltPrompt {
  Prompt prompt;
  // The prompt ends inside an open "<think>": the answer begins with reasoning.
  bool starts_in_reasoning = false;
  // Which of request.images the prompt contains, in order, as prompt.grids: all of them, but for drafts and follow-ups.
  std::vector<size_t> image_indices;
  int64_t image_tokens = 0;
};

// The prompt of a chat request; `grids` are those of request.images, in order. Errors: 400, also
// context_length_exceeded when no token of answer would fit.
ApiResult<BuiltPrompt> build_chat_prompt(const ChatRequest& request, std::span<const GridThw> grids,
                                         const ApiModel& model);

// The part of a draft's prompt that no further typing at its end can change: the last text of the last message counts
// as unfinished, and the prompt ends before the token that could still merge with what follows. Empty token_ids: there
// is no such part yet. Pictures behind the open end are not part of it.
ApiResult<BuiltPrompt> build_draft_prompt(const ChatRequest& request, std::span<const GridThw> grids,
                                          const ApiModel& model);

// What the next turn of this conversation will begin with, once `answer` (the content that the client got; tool calls
// are not taken further) is in its history, as far as it is certain.
enum class FollowUp {
  kKeepsPictures,  // the ordinary client sends everything again
  kDropsPictures,  // phone agents drop the picture of the last user turn
};
ApiResult<BuiltPrompt> build_follow_up_prompt(const ChatRequest& request, std::string_view answer, FollowUp kind,
                                              std::span<const GridThw> grids, const ApiModel& model);

// The prompt of a text completion. Text is trusted: clients of this route write the model's own tokens ("<|user|>").
ApiResult<BuiltPrompt> build_text_prompt(const TextOrIds& prompt, const ApiModel& model);

// Tokens of answer at most: what the request wants, within what the context has left behind the prompt.
int32_t max_answer_tokens(const GenerationFields& fields, const Prompt& prompt, const ApiModel& model);

// The engine's request for one choice. Left to the caller: images, deadline, salt where the client gave none, arrival
// and on_event. Errors: 400 for constraints that cannot be compiled.
ApiResult<EngineRequest> make_engine_request(const ChatRequest& request, const BuiltPrompt& built, int choice,
                                             const ApiModel& model);
ApiResult<EngineRequest> make_engine_request(const CompletionRequest& request, const BuiltPrompt& built, int choice,
                                             const ApiModel& model);
// max_tokens 0, priority kDraft: fills the prefix cache.
EngineRequest make_draft_request(BuiltPrompt built);

}  // namespace glimpse
