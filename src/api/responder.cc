#include "api/responder.h"

#include "api/chat_responder.h"
#include "api/completion_responder.h"

namespace glimpse {

std::unique_ptr<Responder> Responder::chat(const ChatRequest& request, const BuiltPrompt& built, const ApiModel& model,
                                           Identity identity) {
  return std::make_unique<ChatResponder>(request, built, model, std::move(identity));
}

std::unique_ptr<Responder> Responder::completion(const CompletionRequest& request, std::span<const BuiltPrompt> built,
                                                 const ApiModel& model, Identity identity) {
  return std::make_unique<CompletionResponder>(request, built, model, std::move(identity));
}

void Responder::append_stream_error(const ApiError& error, std::string& out) {
  out += "data: ";
  out += error_body(error);
  out += "\n\ndata: [DONE]\n\n";
}

}  // namespace glimpse
