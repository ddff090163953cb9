#include "processor/chat_template.h"

#include <algorithm>

#include "processor/messages.h"

namespace glimpse {

namespace {

constexpr std::string_view kToolUse = "tool_use";

Result<jinja::Template> compile(std::string_view source, const std::string& where) {
  auto made = jinja::Template::compile(source);
  if (!made) return std::move(made).error().in(where);
  return made;
}

// Special tokens by name, whether spelled as a string or as {"content": …}.
json::object special_tokens(const json::object& config) {
  json::object tokens;
  for (const auto& [key, value] : config) {
    if (!std::string_view(key).ends_with("_token")) continue;
    const json::value* content = value.is_object() ? value.get_object().if_contains("content") : &value;
    if (content != nullptr && content->is_string()) tokens.emplace(key, *content);
  }
  return tokens;
}

Result<std::vector<std::pair<std::string, jinja::Template>>> compile_list(const json::array& list) {
  std::vector<std::pair<std::string, jinja::Template>> made;
  for (const json::value& entry : list) {
    const json::value* name = entry.is_object() ? entry.get_object().if_contains("name") : nullptr;
    const json::value* text = entry.is_object() ? entry.get_object().if_contains("template") : nullptr;
    if (name == nullptr || text == nullptr || !name->is_string() || !text->is_string()) {
      return Error{ErrorCode::kInvalidData, "field \"chat_template\" must list objects with \"name\" and \"template\""};
    }
    const std::string_view which = name->get_string();
    if (which != "default" && which != kToolUse) continue;
    ASSIGN_OR_RETURN(jinja::Template each, compile(text->get_string(), "chat_template \"" + std::string(which) + "\""));
    made.emplace(which == "default" ? made.begin() : made.end(), std::string(which), std::move(each));
  }
  if (made.empty() || made[0].first != "default") {
    return Error{ErrorCode::kNotFound, "field \"chat_template\" lists no template named \"default\""};
  }
  return made;
}

}  // namespace

Result<ChatTemplate> ChatTemplate::load(std::optional<std::string_view> jinja, const json::object* tokenizer_config) {
  ChatTemplate made;
  if (tokenizer_config != nullptr) made.special_tokens_ = special_tokens(*tokenizer_config);
  if (jinja.has_value()) {
    ASSIGN_OR_RETURN(jinja::Template compiled, compile(*jinja, "chat_template.jinja"));
    made.templates_.emplace_back("default", std::move(compiled));
    return made;
  }
  const json::value* field = tokenizer_config == nullptr ? nullptr : find(*tokenizer_config, "chat_template");
  if (field == nullptr) return Error{ErrorCode::kNotFound, "no chat_template.jinja and no \"chat_template\" field"};
  if (field->is_string()) {
    ASSIGN_OR_RETURN(jinja::Template compiled, compile(field->get_string(), "field \"chat_template\""));
    made.templates_.emplace_back("default", std::move(compiled));
  } else if (field->is_array()) {
    ASSIGN_OR_RETURN(made.templates_, compile_list(field->get_array()));
  } else {
    return Error{ErrorCode::kInvalidData, "field \"chat_template\" must be a string or a list"};
  }
  return made;
}

Result<RenderedPrompt> ChatTemplate::render(const json::array& messages, const json::array* tools,
                                            const RenderPromptOptions& options) const {
  ASSIGN_OR_RETURN(NormalizedMessages normalized, normalize_messages(messages, options.content_format));
  const bool has_tools = tools != nullptr && !tools->empty();
  const auto& chosen = has_tools && templates_.size() > 1 ? templates_[1].second : templates_[0].second;

  const json::value history(std::move(normalized.messages));
  const json::value tool_list = has_tools ? json::value(*tools) : json::value(nullptr);
  const json::value generate(options.add_generation_prompt);
  const json::value thinking(options.enable_thinking.value_or(true));
  std::vector<jinja::Variable> variables;
  for (const auto& [name, token] : special_tokens_) variables.push_back({name, &token, true});
  for (const auto& [name, value] : options.kwargs) variables.push_back({name, &value, false});
  if (options.enable_thinking.has_value()) variables.push_back({"enable_thinking", &thinking, true});
  // Last, so that no argument of the request can stand in for them.
  variables.push_back({"messages", &history, false});
  variables.push_back({"tools", &tool_list, false});
  variables.push_back({"add_generation_prompt", &generate, true});

  const jinja::RenderOptions render_options{
      .now = options.now,
      .word_field = "role",
      .trusted_words = {"system", "user", "assistant", "tool", "developer", "observation", "function", "ipython"}};
  auto rendered = chosen.render(variables, render_options);
  if (!rendered) return std::move(rendered).error().in("chat template");
  return RenderedPrompt{.text = std::move(rendered->text),
                        .untrusted = std::move(rendered->untrusted),
                        .num_images = normalized.num_images,
                        .num_videos = normalized.num_videos};
}

}  // namespace glimpse
