#pragma once

// A picture as it came in: compressed bytes and their hash.

#include <memory>
#include <string>
#include <vector>

#include "engine/request.h"
#include "server/sha256.h"

namespace glimpse {

struct Picture {
  std::string bytes;
  Sha256Digest sha256{};
  SpanRecord receive;  // how it came, where that was not part of a chat request
};
using PicturePtr = std::shared_ptr<const Picture>;

// A picture that the engine has, or is about to have, as embeddings.
struct PreparedPicture {
  ImageRef image;
  int width = 0;  // upright, before resizing; 0 with a cache hit
  int height = 0;
  bool cache_hit = false;         // neither decoded nor encoded again
  int64_t asked_ns = 0;           // when a request asked for it
  std::vector<SpanRecord> spans;  // queue, decode_image, preprocess; an uploaded file's vision up to asked_ns
};

}  // namespace glimpse
