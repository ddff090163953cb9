#include "api/content.h"

#include <algorithm>
#include <cctype>

#include "api/base64.h"
#include "api/fields.h"
#include "base/quote.h"

namespace glimpse {

namespace {

constexpr size_t kMaxUrlBytes = 8192;
constexpr size_t kMaxIdBytes = 256;

std::string at(const std::string& field, size_t index) {
  return field + "[" + std::to_string(index) + "]";
}

bool starts_with_ignoring_case(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) {
           return a == static_cast<char>(std::tolower(static_cast<unsigned char>(b)));
         });
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// The path of a file URL. Errors: a host other than localhost, broken escapes, an embedded NUL.
ApiResult<std::string> file_path(std::string_view url, const std::string& field) {
  std::string_view rest = url.substr(std::string_view("file://").size());
  if (starts_with_ignoring_case(rest, "localhost/")) rest.remove_prefix(std::string_view("localhost").size());
  if (!rest.starts_with('/')) return invalid_request(field, field + " is not a file URL with an absolute path");
  std::string path;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] != '%') {
      path += rest[i];
      continue;
    }
    const int high = i + 2 < rest.size() ? hex_digit(rest[i + 1]) : -1;
    const int low = high >= 0 ? hex_digit(rest[i + 2]) : -1;
    if (low < 0) return invalid_request(field, field + " has a broken %-escape");
    path += static_cast<char>(high * 16 + low);
    i += 2;
  }
  if (path.find('\0') != std::string::npos) return invalid_request(field, field + " contains a NUL");
  return path;
}

class MessageParser {
 public:
  explicit MessageParser(size_t max_images) : max_images_(max_images) {}

  ApiResult<json::object> message(json::value& value, const std::string& field) {
    if (!value.is_object()) return invalid_request(field, field + " must be an object");
    json::object& message = value.get_object();
    ASSIGN_OR_RETURN(const std::string role, role_of(message, field));
    json::object made{{"role", role}};
    json::value* content = message.if_contains("content");
    if (content == nullptr || content->is_null()) {
      // An assistant's message may be nothing but calls; others need words.
      if (role != "assistant") return invalid_request(field + ".content", field + ".content is missing");
      made["content"] = "";
    } else if (content->is_string()) {
      made["content"] = std::move(*content);
    } else if (content->is_array()) {
      json::array parts;
      for (size_t i = 0; i < content->get_array().size(); ++i) {
        ASSIGN_OR_RETURN(json::object made_part, part(content->get_array()[i], at(field + ".content", i)));
        parts.emplace_back(std::move(made_part));
      }
      made["content"] = std::move(parts);
    } else {
      return invalid_request(field + ".content", field + ".content must be a string or a list of parts");
    }
    if (role == "assistant") {
      RETURN_IF_ERROR(history(message, made, field));
    }
    for (const std::string_view key : {"name", "tool_call_id"}) {
      const json::value* text = find(message, key);
      if (text == nullptr) continue;
      if (!text->is_string()) return invalid_request(field, field + "." + std::string(key) + " must be a string");
      made[key] = *text;
    }
    return made;
  }

  std::vector<ImageSource> images;

 private:
  static ApiResult<std::string> role_of(const json::object& message, const std::string& field) {
    const json::value* role = find(message, "role");
    if (role == nullptr || !role->is_string()) return invalid_request(field, field + ".role must be a string");
    const std::string_view name = role->get_string();
    if (name == "developer") return std::string("system");
    if (name == "function") return std::string("tool");
    if (name == "system" || name == "user" || name == "assistant" || name == "tool") return std::string(name);
    return invalid_request(
        field + ".role",
        field + ".role must be system, developer, user, assistant, tool or function, not " + in_quotes(name, 40));
  }

  // What an assistant's message may carry besides its content.
  static ApiStatus history(json::object& message, json::object& made, const std::string& field) {
    for (const std::string_view key : {"reasoning_content", "reasoning"}) {
      json::value* text = message.if_contains(key);
      if (text == nullptr || !text->is_string()) continue;  // other servers put objects there: not ours to read
      made["reasoning_content"] = std::move(*text);
      break;
    }
    const json::value* calls = find(message, "tool_calls");
    if (calls == nullptr) return kApiOk;
    const std::string where = field + ".tool_calls";
    if (!calls->is_array()) return invalid_request(where, where + " must be a list");
    json::array kept;
    for (size_t i = 0; i < calls->get_array().size(); ++i) {
      const json::value& call = calls->get_array()[i];
      const json::value* function = call.is_object() ? find(call.get_object(), "function") : nullptr;
      const json::value* name =
          function != nullptr && function->is_object() ? find(function->get_object(), "name") : nullptr;
      if (name == nullptr || !name->is_string()) {
        return invalid_request(at(where, i), at(where, i) + ".function.name must be a string");
      }
      json::object copy = call.get_object();
      json::object& inner = copy["function"].get_object();
      const json::value* arguments = find(inner, "arguments");
      if (arguments == nullptr) {
        inner["arguments"] = json::object{};
      } else if (arguments->is_string()) {
        // Templates go through the arguments as a mapping; what does not parse stays visible as text.
        const std::string text(arguments->get_string());
        auto parsed = parse_json(text.find_first_not_of(" \t\r\n") == std::string::npos ? "{}" : text);
        if (parsed && parsed->is_object()) {
          inner["arguments"] = *std::move(parsed);
        } else {
          inner["arguments"] = json::object{{"arguments", text}};
        }
      } else if (!arguments->is_object()) {
        return invalid_request(at(where, i), at(where, i) + ".function.arguments must be JSON text or an object");
      }
      kept.emplace_back(std::move(copy));
    }
    if (!kept.empty()) made["tool_calls"] = std::move(kept);
    return kApiOk;
  }

  static json::object text_part(json::value&& text) { return {{"type", "text"}, {"text", std::move(text)}}; }

  ApiResult<json::object> part(json::value& value, const std::string& field) {
    if (value.is_string()) return text_part(std::move(value));
    if (!value.is_object()) return invalid_request(field, field + " must be an object or a string");
    json::object& part = value.get_object();
    const json::value* type = find(part, "type");
    if (type == nullptr || !type->is_string()) return invalid_request(field, field + ".type must be a string");
    const std::string name(type->get_string());
    if (name == "text" || name == "input_text" || name == "output_text" || name == "refusal") {
      json::value* text = part.if_contains(name == "refusal" ? "refusal" : "text");
      if (text == nullptr || !text->is_string()) return invalid_request(field, field + ".text must be a string");
      return text_part(std::move(*text));
    }
    if (name == "image_url" || name == "input_image" || name == "image" || name == "file" || name == "input_file") {
      if (images.size() == max_images_) {
        return invalid_request(field, "the request has more than " + std::to_string(max_images_) +
                                          " pictures, which is this server's limit");
      }
      const bool is_file = name == "file" || name == "input_file";
      ASSIGN_OR_RETURN(ImageSource source, is_file ? file(part, field) : image(part, name, field));
      images.push_back(std::move(source));
      return json::object{{"type", "image"}};
    }
    for (const std::string_view known :
         {"video_url", "video", "input_audio", "audio_url", "audio", "image_embeds", "image_pil"}) {
      if (name == known) return not_supported(field, field + ": parts of type " + name + " are not supported");
    }
    return invalid_request(field + ".type",
                           field + ".type must be text, image_url or file, not " + in_quotes(name, 40));
  }

  // image_url: {"url", "detail"} or a string; also file_id beside or inside it. May be null beside a uuid.
  static ApiResult<ImageSource> image(json::object& part, const std::string& type, const std::string& field) {
    ImageSource source;
    source.param = field + (type == "image" ? ".image" : ".image_url");
    ASSIGN_OR_RETURN(auto uuid, optional_string(part, "uuid", kMaxIdBytes));
    source.uuid = uuid.value_or("");
    json::value* url = part.if_contains("image_url");
    if (type == "image" && url == nullptr) {
      url = part.if_contains("image");
      if (url == nullptr) url = part.if_contains("url");
    }
    json::object* holder = &part;
    if (url != nullptr && url->is_object()) {
      holder = &url->get_object();
      url = holder->if_contains("url");
    }
    ASSIGN_OR_RETURN(auto detail, detail_of(*holder, part, field));
    source.detail = detail;
    for (json::object* place : {holder, &part}) {
      ASSIGN_OR_RETURN(auto id, optional_string(*place, "file_id", kMaxIdBytes));
      if (!id) continue;
      source.kind = ImageSource::Kind::kFileId;
      source.value = *id;
      return source;
    }
    if (url == nullptr || url->is_null()) {
      if (source.uuid.empty()) return invalid_request(source.param, source.param + " has no url");
      source.kind = ImageSource::Kind::kUuid;
      return source;
    }
    if (!url->is_string()) return invalid_request(source.param, source.param + ".url must be a string");
    RETURN_IF_ERROR(locate(std::move(url->get_string()), source));
    return source;
  }

  static ApiResult<ImageDetail> detail_of(const json::object& holder, const json::object& part,
                                          const std::string& field) {
    const json::value* detail = find(holder, "detail");
    if (detail == nullptr) detail = find(part, "detail");
    if (detail == nullptr) return ImageDetail::kAuto;
    if (detail->is_string()) {
      if (detail->get_string() == "auto") return ImageDetail::kAuto;
      if (detail->get_string() == "low") return ImageDetail::kLow;
      if (detail->get_string() == "high" || detail->get_string() == "original") return ImageDetail::kHigh;
    }
    return invalid_request(field, field + ": detail must be \"low\", \"high\" or \"auto\"");
  }

  // file: {"file_id"} or {"filename", "file_data": data URL or base64}.
  static ApiResult<ImageSource> file(json::object& part, const std::string& field) {
    ImageSource source;
    source.param = field + ".file";
    json::object* holder = &part;
    if (json::value* inner = part.if_contains("file"); inner != nullptr && inner->is_object()) {
      holder = &inner->get_object();
    }
    ASSIGN_OR_RETURN(auto id, optional_string(*holder, "file_id", kMaxIdBytes));
    if (id) {
      source.kind = ImageSource::Kind::kFileId;
      source.value = *id;
      return source;
    }
    json::value* data = holder->if_contains("file_data");
    if (data == nullptr || !data->is_string()) {
      return invalid_request(source.param, source.param + " must have a file_id or file_data");
    }
    if (starts_with_ignoring_case(std::string_view(data->get_string()).substr(0, 5), "data:")) {
      RETURN_IF_ERROR(locate(std::move(data->get_string()), source));
    } else {
      ASSIGN_OR_RETURN(source.value, decode_base64(data->get_string(), source.param));
    }
    return source;
  }

  static ApiStatus locate(json::string&& url, ImageSource& source) {
    const std::string_view text = url;
    if (starts_with_ignoring_case(text, "data:")) {
      // The type is often wrong (agents write image/png whatever it is): the bytes decide.
      const size_t comma = text.substr(0, 1024).find(',');
      if (comma == std::string_view::npos || !text.substr(0, comma).ends_with(";base64")) {
        return invalid_image(source.param, source.param + " is not a base64 data URL");
      }
      source.kind = ImageSource::Kind::kData;
      ASSIGN_OR_RETURN(source.value, decode_base64(text.substr(comma + 1), source.param));
      return kApiOk;
    }
    if (text.size() > kMaxUrlBytes) {
      return invalid_request(source.param, source.param + " is longer than " + std::to_string(kMaxUrlBytes) + " bytes");
    }
    if (starts_with_ignoring_case(text, "http://") || starts_with_ignoring_case(text, "https://")) {
      source.kind = ImageSource::Kind::kHttpUrl;
      source.value = std::string(text);
      return kApiOk;
    }
    if (starts_with_ignoring_case(text, "file://")) {
      source.kind = ImageSource::Kind::kFileUrl;
      ASSIGN_OR_RETURN(source.value, file_path(text, source.param));
      return kApiOk;
    }
    if (text.starts_with("file-")) {  // an id of /v1/files where a URL is expected
      source.kind = ImageSource::Kind::kFileId;
      source.value = std::string(text);
      return kApiOk;
    }
    return invalid_request(source.param, source.param + " must be a data:, http:, https: or file: URL");
  }

  const size_t max_images_;
};

}  // namespace

int64_t max_picture_pixels(ImageDetail detail, int64_t checkpoint_pixels) {
  return detail == ImageDetail::kLow ? std::min(checkpoint_pixels, kLowDetailPixels) : checkpoint_pixels;
}

ApiResult<Conversation> parse_messages(json::value&& messages, size_t max_messages, size_t max_images) {
  if (!messages.is_array()) return invalid_request("messages", "messages must be a list");
  json::array& list = messages.get_array();
  if (list.empty()) return invalid_request("messages", "messages is empty");
  if (list.size() > max_messages) {
    return invalid_request("messages", "messages has " + std::to_string(list.size()) + " entries, at most " +
                                           std::to_string(max_messages) + " are allowed");
  }
  Conversation conversation;
  MessageParser parser(max_images);
  for (size_t i = 0; i < list.size(); ++i) {
    ASSIGN_OR_RETURN(json::object made, parser.message(list[i], at("messages", i)));
    conversation.messages.emplace_back(std::move(made));
  }
  conversation.images = std::move(parser.images);
  return conversation;
}

}  // namespace glimpse
