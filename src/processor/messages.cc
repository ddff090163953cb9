#include "processor/messages.h"

namespace glimpse {

namespace {

Error bad_field(const std::string& field, const std::string& reason) {
  return {ErrorCode::kInvalidArgument, field + " " + reason};
}

json::object text_part(std::string_view text) {
  return {{"type", "text"}, {"text", text}};
}

class Normalizer {
 public:
  explicit Normalizer(ContentFormat format) : format_(format) {}

  Status add(const json::value& value, const std::string& field) {
    if (!value.is_object()) return bad_field(field, "must be an object");
    json::object message = value.get_object();
    const json::value* role = message.if_contains("role");
    if (role == nullptr || !role->is_string()) return bad_field(field + ".role", "must be a string");
    const bool is_user = role->get_string() == "user";
    if (json::value* content = message.if_contains("content"); content != nullptr) {
      if (content->is_array()) {
        ASSIGN_OR_RETURN(*content, parts(content->get_array(), is_user, field + ".content"));
      } else if (!content->is_string() && !content->is_null()) {
        return bad_field(field + ".content", "must be a string, a list of parts, or null");
      }
    }
    if (json::value* calls = message.if_contains("tool_calls"); calls != nullptr) {
      RETURN_IF_ERROR(parse_arguments(*calls, field + ".tool_calls"));
    }
    alias_reasoning(message);
    made.messages.emplace_back(std::move(message));
    return {};
  }

  NormalizedMessages made;

 private:
  // The parts of one message: a list, or one string if there is nothing but text in a message that is not the user's.
  Result<json::value> parts(const json::array& content, bool is_user, const std::string& field) {
    json::array pictures;
    json::array texts;
    json::array all;
    for (size_t i = 0; i < content.size(); ++i) {
      ASSIGN_OR_RETURN(json::object part, normalize_part(content[i], field + "[" + std::to_string(i) + "]"));
      (part.at("type") == "text" ? texts : pictures).push_back(part);
      all.push_back(std::move(part));
    }
    const bool reorders = format_ == ContentFormat::kString;
    if (pictures.empty() && (!is_user || reorders)) {
      std::string joined;
      for (size_t i = 0; i < texts.size(); ++i) {
        if (i > 0 && reorders) joined += '\n';
        joined += texts[i].at("text").get_string();
      }
      return json::value(joined);
    }
    if (!reorders) return json::value(std::move(all));
    // The placeholders themselves must come from the template, or they would not be trusted; so this stays a list,
    // which templates print part by part with nothing between.
    json::array ordered = std::move(pictures);
    ordered.insert(ordered.end(), texts.begin(), texts.end());
    json::array lines;
    for (size_t i = 0; i < ordered.size(); ++i) {
      if (i > 0) lines.push_back(text_part("\n"));
      lines.push_back(std::move(ordered[i]));
    }
    return json::value(std::move(lines));
  }

  Result<json::object> normalize_part(const json::value& value, const std::string& field) {
    if (value.is_string()) return text_part(value.get_string());
    if (!value.is_object()) return bad_field(field, "must be an object or a string");
    const json::object& part = value.get_object();
    const json::value* type = part.if_contains("type");
    if (type == nullptr || !type->is_string()) return bad_field(field + ".type", "must be a string");
    if (type->get_string() == "text") {
      const json::value* text = part.if_contains("text");
      if (text == nullptr || !text->is_string()) return bad_field(field + ".text", "must be a string");
      return text_part(text->get_string());
    }
    if (type->get_string() == "image_url" || type->get_string() == "image") {
      ++made.num_images;
      return json::object{{"type", "image"}};
    }
    if (type->get_string() == "video_url" || type->get_string() == "video") {
      ++made.num_videos;
      return json::object{{"type", "video"}};
    }
    const std::string shown(std::string_view(type->get_string()).substr(0, 40));
    return bad_field(field + ".type", "must be text, image_url or video_url, not \"" + shown + "\"");
  }

  // Clients send the arguments as they got them, as JSON text; templates go through them as a mapping.
  static Status parse_arguments(json::value& calls, const std::string& field) {
    if (calls.is_null()) return {};
    if (!calls.is_array()) return bad_field(field, "must be a list");
    for (size_t i = 0; i < calls.get_array().size(); ++i) {
      json::value& call = calls.get_array()[i];
      const std::string where = field + "[" + std::to_string(i) + "].function";
      json::value* function = call.is_object() ? call.get_object().if_contains("function") : nullptr;
      if (function == nullptr || !function->is_object()) return bad_field(where, "must be an object");
      json::value* arguments = function->get_object().if_contains("arguments");
      if (arguments == nullptr) continue;
      if (arguments->is_string()) {
        const std::string_view text = arguments->get_string();
        auto parsed = parse_json(text.empty() ? "{}" : text);
        if (!parsed) return bad_field(where + ".arguments", "is " + parsed.error().message);
        *arguments = *std::move(parsed);
      }
      if (!arguments->is_object()) return bad_field(where + ".arguments", "must be a JSON object");
    }
    return {};
  }

  static void alias_reasoning(json::object& message) {
    if (find(message, "reasoning_content") != nullptr) return;
    for (const std::string_view name : {"reasoning", "thinking"}) {
      if (const json::value* reasoning = find(message, name); reasoning != nullptr) {
        json::value copy = *reasoning;  // the insertion may move what it points to
        message["reasoning_content"] = std::move(copy);
        return;
      }
    }
  }

  const ContentFormat format_;
};

}  // namespace

Result<NormalizedMessages> normalize_messages(const json::array& messages, ContentFormat format) {
  Normalizer normalizer(format);
  for (size_t i = 0; i < messages.size(); ++i) {
    RETURN_IF_ERROR(normalizer.add(messages[i], "messages[" + std::to_string(i) + "]"));
  }
  return std::move(normalizer.made);
}

}  // namespace glimpse
