#pragma once

// Bodies that bring pictures: raw bytes or multipart, hashed while they arrive.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/exchange.h"
#include "server/picture.h"

namespace glimpse {

struct Upload {
  std::string name;  // of the multipart field
  std::string filename;
  PicturePtr picture;
};

struct Uploads {
  std::vector<Upload> files;                  // parts with a file name or a content type that is no text
  std::map<std::string, std::string> fields;  // the others
  std::optional<HttpResponse> failure;
};

// Reads a multipart body; at most `limit` bytes in all. The exchange's content-type has the boundary.
Task<Uploads> receive_multipart(Exchange& exchange, std::string boundary, uint64_t limit, const Clock& clock);
// Reads a body that is one picture.
Task<Uploads> receive_raw(Exchange& exchange, uint64_t limit, const Clock& clock);

}  // namespace glimpse
