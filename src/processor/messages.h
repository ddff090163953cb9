#pragma once

#include "base/json.h"
#include "base/result.h"
#include "processor/chat_template.h"

namespace glimpse {

struct NormalizedMessages {
  json::array messages;
  size_t num_images = 0;
  size_t num_videos = 0;
};

// OpenAI-shaped messages as templates expect them; see ChatTemplate::render. Errors: kInvalidArgument naming the field.
Result<NormalizedMessages> normalize_messages(const json::array& messages, ContentFormat format);

}  // namespace glimpse
