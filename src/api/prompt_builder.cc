#include "api/prompt_builder.h"

#include <algorithm>

#include "grammar/mask.h"
#include "processor/image_prompt.h"

namespace glimpse {

namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kEndThink = "</think>";
constexpr std::string_view kPlaceholder = "<|image|>";

struct Text {
  std::string text;
  std::vector<ByteRange> untrusted;

  void cut(size_t size) {
    text.resize(size);
    while (!untrusted.empty() && untrusted.back().begin >= size) untrusted.pop_back();
    if (!untrusted.empty()) untrusted.back().end = std::min(untrusted.back().end, size);
  }
};

ApiResult<Text> render(const ChatRequest& request, const json::array& messages, bool add_generation_prompt,
                       const ApiModel& model) {
  RenderPromptOptions options;
  options.add_generation_prompt = add_generation_prompt;
  options.enable_thinking = request.enable_thinking;
  options.content_format = request.content_format;
  options.kwargs = request.template_kwargs;
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  if (localtime_r(&now, &local) != nullptr) options.now = local;
  const bool tools = request.tools.active() || request.tools.choice == ToolSet::Choice::kNone;
  auto rendered = model.source().chat_template.render(messages, tools ? &request.tools.json : nullptr, options);
  if (!rendered) return to_api_error(rendered.error(), "messages");
  return Text{std::move(rendered->text), std::move(rendered->untrusted)};
}

bool is_image_part(const json::value& part) {
  return part.is_object() && part.get_object().contains("type") && part.at("type") == "image";
}

// Text written at the end of a message, as if its author had gone on typing.
json::array with_more_text(const json::array& messages, std::string_view more) {
  json::array copy = messages;
  json::value& content = copy.back().get_object()["content"];
  if (content.is_string()) {
    content.get_string() += more;
  } else if (content.is_array()) {
    json::array& parts = content.get_array();
    if (!parts.empty() && !is_image_part(parts.back())) {
      parts.back().get_object()["text"].get_string() += more;
    } else {
      parts.push_back(json::object{{"type", "text"}, {"text", more}});
    }
  } else {
    content = json::string(more);
  }
  return copy;
}

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

// What all renderings of the variants begin with: the template's own word on what a longer conversation keeps.
ApiResult<Text> shared_prefix(const ChatRequest& request, const std::vector<json::array>& variants,
                              const ApiModel& model) {
  ASSIGN_OR_RETURN(Text shared, render(request, variants.front(), false, model));
  for (size_t i = 1; i < variants.size(); ++i) {
    ASSIGN_OR_RETURN(const Text other, render(request, variants[i], false, model));
    shared.cut(common_prefix(shared.text, other.text));
  }
  return shared;
}

// The conversation up to the open end of its last message.
ApiResult<Text> open_ended(const ChatRequest& request, const ApiModel& model) {
  return shared_prefix(request, {with_more_text(request.messages, "A"), with_more_text(request.messages, "B")}, model);
}

// Whether text whose end is the prompt's end leaves a "<think>" open.
bool ends_in_thought(std::string_view text) {
  const size_t last = text.find_last_not_of(" \r\n\t");
  return last != std::string_view::npos && text.substr(0, last + 1).ends_with(kThink);
}

// ids hold one placeholder per picture; of the pictures, `indices` are those of the conversation, in order.
ApiResult<BuiltPrompt> finish(std::vector<int32_t> ids, std::span<const GridThw> grids, std::vector<size_t> indices,
                              const ApiModel& model) {
  const ModelSource& source = model.source();
  source.to_model_ids(ids);
  const auto image_token = static_cast<int32_t>(source.config.image_token_id);
  const auto merge = static_cast<int32_t>(source.config.vision.spatial_merge_size);
  const auto places = static_cast<size_t>(std::count(ids.begin(), ids.end(), image_token));
  if (places != indices.size()) {
    return invalid_request("messages", "the conversation has " + std::to_string(indices.size()) +
                                           " pictures, but the model's chat template has places for " +
                                           std::to_string(places) + " of them");
  }
  BuiltPrompt built;
  std::vector<int64_t> counts;
  std::vector<GridThw> kept;
  for (const size_t index : indices) {
    kept.push_back(grids[index]);
    counts.push_back(grids[index].num_tokens(merge));
    built.image_tokens += counts.back();
  }
  const auto total = static_cast<int64_t>(ids.size() - places) + built.image_tokens;
  if (total >= model.max_model_len()) return context_length_exceeded(model.max_model_len(), total);
  auto expanded = expand_images(ids, image_token, counts, static_cast<size_t>(model.max_model_len()));
  if (!expanded) return to_api_error(expanded.error(), "messages");
  if (!expanded->ids.empty()) {
    auto prompt = make_prompt(source.config, std::move(expanded->ids), std::move(kept));
    if (!prompt) return to_api_error(prompt.error(), "messages");
    built.prompt = *std::move(prompt);
  }
  built.image_indices = std::move(indices);
  return built;
}

std::vector<size_t> all_indices(size_t count) {
  std::vector<size_t> indices(count);
  for (size_t i = 0; i < count; ++i) indices[i] = i;
  return indices;
}

// The certain part of an open text as a prompt; `indices` are the pictures that the whole text has.
ApiResult<BuiltPrompt> finish_stable(const Text& text, std::span<const GridThw> grids, std::vector<size_t> indices,
                                     const ApiModel& model) {
  auto ids = model.source().tokenizer.encode_stable(text.text, text.untrusted);
  if (!ids) return to_api_error(ids.error(), "messages");
  std::vector<int32_t> model_ids = *ids;
  model.source().to_model_ids(model_ids);
  const auto places = static_cast<size_t>(
      std::count(model_ids.begin(), model_ids.end(), static_cast<int32_t>(model.source().config.image_token_id)));
  if (places < indices.size()) indices.resize(places);  // the others lie behind the open end
  return finish(*std::move(ids), grids, std::move(indices), model);
}

// The caller may have moved request.images away to read them: the messages say how many there are.
ApiStatus check_grids(const ChatRequest& request, std::span<const GridThw> grids) {
  size_t pictures = 0;
  for (const json::value& message : request.messages) {
    const json::value* content = message.get_object().if_contains("content");
    if (content == nullptr || !content->is_array()) continue;
    pictures +=
        static_cast<size_t>(std::count_if(content->get_array().begin(), content->get_array().end(), is_image_part));
  }
  if (grids.size() == pictures) return kApiOk;
  return invalid_request("messages", "the conversation has " + std::to_string(pictures) + " pictures, but " +
                                         std::to_string(grids.size()) + " were read");
}

std::vector<int32_t> stop_ids(const GenerationFields& fields, bool ignore_eos, const ApiModel& model) {
  std::vector<int32_t> ids = ignore_eos ? std::vector<int32_t>{} : model.source().eos_token_ids;
  ids.insert(ids.end(), fields.sampling.stop_token_ids.begin(), fields.sampling.stop_token_ids.end());
  return ids;
}

int32_t to_model_id(int32_t tokenizer_id, const ApiModel& model) {
  std::vector<int32_t> one{tokenizer_id};
  if (tokenizer_id >= 0) model.source().to_model_ids(one);
  return one[0];
}

ApiResult<EngineRequest> engine_request(const GenerationFields& fields, const std::optional<Constraint>& constraint,
                                        const MaskOptions& mask, const BuiltPrompt& built, int choice,
                                        const ApiModel& model) {
  EngineRequest request;
  request.id = fields.request_id;
  request.prompt = built.prompt;
  request.sampling = fields.sampling;
  if (request.sampling.seed) *request.sampling.seed += static_cast<uint64_t>(choice);
  request.max_tokens = max_answer_tokens(fields, built.prompt, model);
  request.sampling.min_tokens = std::min(request.sampling.min_tokens, request.max_tokens);
  request.priority = fields.priority;
  request.cache_salt = fields.cache_salt;
  // What is constrained ends where its form is complete, so its end cannot be ignored.
  request.stop_token_ids = stop_ids(fields, fields.ignore_eos && !constraint, model);
  if (constraint) {
    auto grammar = model.grammars().get(*constraint);
    if (!grammar) {
      return to_api_error(grammar.error(),
                          constraint->kind == Constraint::Kind::kToolCalls ? "tools" : "response_format");
    }
    MaskOptions options = mask;
    options.stop_ids = request.stop_token_ids;
    request.mask_key = constraint->key() + (mask.starts_in_reasoning ? "|reasons" : "") +
                       (mask.may_think ? "|may think" : "") + (mask.leading_newlines ? "|newlines" : "");
    request.token_mask = make_mask(model.vocabulary(), *std::move(grammar), std::move(options));
  } else if (!fields.allowed_token_ids.empty()) {
    request.token_mask =
        make_fixed_mask(static_cast<size_t>(model.vocab_size()), fields.allowed_token_ids, request.stop_token_ids);
    request.mask_key = "ids";
    for (const int32_t id : fields.allowed_token_ids) request.mask_key += "," + std::to_string(id);
  }
  return request;
}

std::optional<Constraint> chat_constraint(const ChatRequest& request) {
  const ToolSet& tools = request.tools;
  if (tools.choice != ToolSet::Choice::kRequired && tools.choice != ToolSet::Choice::kNamed) {
    return request.generation.constraint;
  }
  Constraint constraint{.kind = Constraint::Kind::kToolCalls};
  for (const ToolSet::Function& function : tools.functions) {
    if (tools.choice == ToolSet::Choice::kNamed && function.name != tools.named) continue;
    constraint.tools.emplace_back(function.name, function.parameters);
  }
  constraint.several = tools.parallel && tools.choice == ToolSet::Choice::kRequired;
  return constraint;
}

}  // namespace

ApiResult<BuiltPrompt> build_chat_prompt(const ChatRequest& request, std::span<const GridThw> grids,
                                         const ApiModel& model) {
  RETURN_IF_ERROR(check_grids(request, grids));
  ASSIGN_OR_RETURN(const Text text, request.continue_final_message
                                        ? open_ended(request, model)
                                        : render(request, request.messages, request.add_generation_prompt, model));
  auto ids = model.source().tokenizer.encode(text.text, text.untrusted);
  if (!ids) return to_api_error(ids.error(), "messages");
  ASSIGN_OR_RETURN(BuiltPrompt built, finish(*std::move(ids), grids, all_indices(grids.size()), model));
  built.starts_in_reasoning = ends_in_thought(text.text);
  if (request.continue_final_message) {
    const size_t open = text.text.rfind(kThink);
    const size_t closed = text.text.rfind(kEndThink);
    const size_t turn = text.text.rfind("<|assistant|>");
    built.starts_in_reasoning = open != std::string::npos && (turn == std::string::npos || open > turn) &&
                                (closed == std::string::npos || closed < open);
  }
  return built;
}

ApiResult<BuiltPrompt> build_draft_prompt(const ChatRequest& request, std::span<const GridThw> grids,
                                          const ApiModel& model) {
  RETURN_IF_ERROR(check_grids(request, grids));
  ASSIGN_OR_RETURN(const Text text, open_ended(request, model));
  return finish_stable(text, grids, all_indices(grids.size()), model);
}

ApiResult<BuiltPrompt> build_follow_up_prompt(const ChatRequest& request, std::string_view answer, FollowUp kind,
                                              std::span<const GridThw> grids, const ApiModel& model) {
  RETURN_IF_ERROR(check_grids(request, grids));
  json::array messages = request.messages;
  std::vector<size_t> indices = all_indices(grids.size());
  if (kind == FollowUp::kDropsPictures) {
    size_t last_user = messages.size();
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].at("role") == "user") last_user = i;
    }
    indices.clear();
    size_t index = 0;
    for (size_t i = 0; i < messages.size(); ++i) {
      json::value* content = messages[i].get_object().if_contains("content");
      if (content == nullptr || !content->is_array()) continue;
      json::array kept;
      for (json::value& part : content->get_array()) {
        const bool is_image = is_image_part(part);
        if (is_image && i != last_user) indices.push_back(index);
        if (is_image) ++index;
        if (!is_image || i != last_user) kept.push_back(std::move(part));
      }
      *content = std::move(kept);
    }
  }
  if (request.continue_final_message) {
    messages = with_more_text(messages, answer);
  } else {
    messages.push_back(json::object{{"role", "assistant"}, {"content", answer}});
  }
  const auto followed_by = [&](json::value content) {
    json::array longer = messages;
    longer.push_back(json::object{{"role", "user"}, {"content", std::move(content)}});
    return longer;
  };
  const json::object picture{{"type", "image"}};
  const json::object words{{"type", "text"}, {"text", "A"}};
  ASSIGN_OR_RETURN(const Text text,
                   shared_prefix(request,
                                 {followed_by("A"), followed_by("B"), followed_by(json::array{picture, words}),
                                  followed_by(json::array{words, picture})},
                                 model));
  return finish_stable(text, grids, std::move(indices), model);
}

ApiResult<BuiltPrompt> build_text_prompt(const TextOrIds& prompt, const ApiModel& model) {
  std::vector<int32_t> ids;
  if (const auto* text = std::get_if<std::string>(&prompt)) {
    // A picture's placeholder without a picture is nothing but its spelling.
    std::vector<ByteRange> untrusted;
    for (size_t at = text->find(kPlaceholder); at != std::string::npos; at = text->find(kPlaceholder, at)) {
      untrusted.push_back({at, at + kPlaceholder.size()});
      at += kPlaceholder.size();
    }
    auto encoded = model.source().tokenizer.encode(*text, untrusted);
    if (!encoded) return to_api_error(encoded.error(), "prompt");
    ids = *std::move(encoded);
    if (ids.empty()) return invalid_request("prompt", "prompt is empty");
    return finish(std::move(ids), {}, {}, model);
  }
  // Ids are the model's own: no mapping.
  BuiltPrompt built;
  const auto& given = std::get<std::vector<int32_t>>(prompt);
  if (static_cast<int64_t>(given.size()) >= model.max_model_len()) {
    return context_length_exceeded(model.max_model_len(), static_cast<int64_t>(given.size()));
  }
  auto made = make_prompt(model.source().config, given, {});
  if (!made) return to_api_error(made.error(), "prompt");
  built.prompt = *std::move(made);
  return built;
}

int32_t max_answer_tokens(const GenerationFields& fields, const Prompt& prompt, const ApiModel& model) {
  const int32_t left = model.max_model_len() - prompt.num_tokens();
  return fields.max_tokens ? std::min(*fields.max_tokens, left) : left;
}

ApiResult<EngineRequest> make_engine_request(const ChatRequest& request, const BuiltPrompt& built, int choice,
                                             const ApiModel& model) {
  const MaskOptions mask{.starts_in_reasoning = built.starts_in_reasoning,
                         .may_think = request.enable_thinking != false,
                         .leading_newlines = true,
                         .think_id = to_model_id(model.think_id(), model),
                         .end_think_id = to_model_id(model.end_think_id(), model)};
  return engine_request(request.generation, chat_constraint(request), mask, built, choice, model);
}

ApiResult<EngineRequest> make_engine_request(const CompletionRequest& request, const BuiltPrompt& built, int choice,
                                             const ApiModel& model) {
  return engine_request(request.generation, request.generation.constraint, {}, built, choice, model);
}

EngineRequest make_draft_request(BuiltPrompt built) {
  EngineRequest request;
  request.prompt = std::move(built.prompt);
  request.max_tokens = 0;
  request.priority = Priority::kDraft;
  return request;
}

}  // namespace glimpse
