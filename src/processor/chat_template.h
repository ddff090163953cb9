#pragma once

// From an OpenAI-shaped conversation to the text that is tokenised: the checkpoint's own chat template, rendered as
// transformers and vLLM render it, with every byte that came from the conversation marked as untrusted.

#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/byte_range.h"
#include "base/json.h"
#include "base/result.h"
#include "jinja/template.h"

namespace glimpse {

enum class ContentFormat {
  kOpenai,  // the parts of a message keep their order
  kString,  // vLLM's "string": pictures first, then the texts, a newline between each two
};

struct RenderPromptOptions {
  bool add_generation_prompt = true;
  std::optional<bool> enable_thinking;  // unset: the template decides (GLM-4.6V thinks)
  ContentFormat content_format = ContentFormat::kOpenai;
  json::object kwargs;         // chat_template_kwargs of the request: more names for the template, untrusted
  std::optional<std::tm> now;  // for templates that print the date
};

struct RenderedPrompt {
  std::string text;                  // UTF-8, with everything the model needs: tokenise without adding specials
  std::vector<ByteRange> untrusted;  // bytes of text that must not become special tokens; sorted, disjoint
  size_t num_images = 0;             // image and video parts found, in the order of the conversation
  size_t num_videos = 0;
};

// Immutable once loaded; rendering is safe from several threads.
class ChatTemplate {
 public:
  // jinja: the text of chat_template.jinja if the checkpoint has one. Else tokenizer_config's "chat_template": a
  // string, or a list of {"name", "template"} of which "default" is used, and "tool_use" (if there) when tools are
  // given. tokenizer_config, which may be null, also supplies bos_token and its like as variables.
  // Errors: kNotFound if there is no template, kInvalidData and kUnsupported with the template's name and line.
  static Result<ChatTemplate> load(std::optional<std::string_view> jinja, const json::object* tokenizer_config);

  // messages: objects with "role" and "content" (string, null or a list of parts). Parts: "text", "image_url" or
  // "image", "video_url" or "video"; pictures become {"type": "image"}, which is what templates look for. A list of
  // texts is joined to one string unless the role is user. Arguments of tool_calls may be JSON text and are parsed;
  // "reasoning" and "thinking" are read as "reasoning_content". tools may be null.
  // A history message's own "<think>" is text of the conversation like any other, hence untrusted.
  // Errors: kInvalidArgument naming the field ("messages[2].content[0].type"), or what the template objects to;
  // kTooLarge for a template that runs too long.
  Result<RenderedPrompt> render(const json::array& messages, const json::array* tools,
                                const RenderPromptOptions& options) const;

 private:
  ChatTemplate() = default;

  std::vector<std::pair<std::string, jinja::Template>> templates_;  // by name; the first is the default
  json::object special_tokens_;                                     // bos_token → "<s>"
};

}  // namespace glimpse
