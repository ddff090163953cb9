#pragma once

// Content parts of messages: which pictures a conversation has, in order, and where their bytes are to be found.

#include <cstdint>
#include <string>
#include <vector>

#include "api/error.h"

namespace glimpse {

// OpenAI's `detail`. low bounds a picture to kLowDetailPixels, whatever the checkpoint allows; high and auto (or none)
// leave the checkpoint's bound.
enum class ImageDetail { kAuto, kLow, kHigh };

// The bound on height * width of the resized picture under `detail`; `checkpoint_pixels` is the checkpoint's own bound
// in the same unit.
inline constexpr int64_t kLowDetailPixels = 512 * 512;
int64_t max_picture_pixels(ImageDetail detail, int64_t checkpoint_pixels);

struct ImageSource {
  enum class Kind {
    kData,     // value: the picture's bytes
    kHttpUrl,  // value: an http or https URL, not looked at any further
    kFileUrl,  // value: the path of a file:// URL, percent-decoded, not looked at any further
    kFileId,   // value: an id from /v1/files
    kUuid,     // value: empty; only `uuid` tells which picture: one sent before under it
  };
  Kind kind = Kind::kData;
  std::string value;
  std::string uuid;  // the client's name for the picture, may be empty; it must not stand for the content in caches
  ImageDetail detail = ImageDetail::kAuto;
  std::string param;  // where it stands, for errors: "messages[0].content[1].image_url"
};

// The messages of a request as the processor takes them: {"type": "image"} for each picture, texts as they are, roles
// system, user, assistant and tool. Picture data is moved out of `messages`, not copied. Errors name the field.
struct Conversation {
  json::array messages;
  std::vector<ImageSource> images;
};
ApiResult<Conversation> parse_messages(json::value&& messages, size_t max_messages, size_t max_images);

}  // namespace glimpse
