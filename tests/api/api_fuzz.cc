// Bodies from anyone: whatever the bytes, they become a prompt or a 4xx with a body that is JSON.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "api/completion_request.h"
#include "api/prompt_builder.h"
#include "base/check.h"
#include "bundle/model_source.h"

namespace glimpse {
namespace {

const ApiModel& model() {
  static const auto source = open_model("", LoadFormat::kAuto);
  CHECK(source.has_value());
  static const ApiModel made(*source, {.served_names = {"m"}, .max_model_len = 512});
  return made;
}

void check(const ApiError& error) {
  CHECK(error.status >= 400 && error.status < 500, error.status);
  CHECK(parse_json(error_body(error)).has_value());
}

void chat(const json::value& body, ChatRequestKind kind) {
  const auto request = parse_chat_request(json::value(body), model(), kind);
  if (!request) return check(request.error());
  const std::vector<GridThw> grids(request->images.size(), GridThw{1, 4, 4});
  const auto built = kind == ChatRequestKind::kDraft ? build_draft_prompt(*request, grids, model())
                                                     : build_chat_prompt(*request, grids, model());
  if (!built) return check(built.error());
  if (kind == ChatRequestKind::kDraft) return;
  const auto engine = make_engine_request(*request, *built, 0, model());
  if (!engine) return check(engine.error());
  if (engine->token_mask == nullptr) return;
  // A few tokens under the constraint: the first that is allowed, each time.
  for (int step = 0; step < 8; ++step) {
    const auto words = engine->token_mask->allowed();
    size_t w = 0;
    while (w < words.size() && words[w] == 0) ++w;
    CHECK(w < words.size());
    engine->token_mask->accept(static_cast<int32_t>(w * 64 + static_cast<size_t>(__builtin_ctzll(words[w]))));
  }
}

}  // namespace
}  // namespace glimpse

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace glimpse;
  const auto body = parse_body({reinterpret_cast<const char*>(data), size});
  if (!body) {
    check(body.error());
    return 0;
  }
  chat(*body, ChatRequestKind::kChat);
  chat(*body, ChatRequestKind::kDraft);
  if (const auto completion = parse_completion_request(*body, model()); completion) {
    for (const TextOrIds& prompt : completion->prompts) {
      if (const auto built = build_text_prompt(prompt, model()); !built) check(built.error());
    }
  } else {
    check(completion.error());
  }
  if (const auto tokenize = parse_tokenize_request(json::value(*body), model()); tokenize) {
    if (const auto response = tokenize_response(*tokenize, model()); !response) check(response.error());
  }
  if (const auto text = detokenize_response(*body, model()); !text) check(text.error());
  return 0;
}
