#pragma once

// The chat page: the files that web/ builds, as bytes in the executable.

#include <cstddef>
#include <span>
#include <string_view>

namespace glimpse {

// One file of the page. Everything points into the executable's read-only data and lives as long as the process.
struct StaticFile {
  std::string_view path;          // as requested, e.g. "/assets/index-B2xk.js"; the page itself is "/"
  std::string_view content_type;  // with charset where the type is text
  std::string_view etag;          // weak, quotes included: the same for all encodings
  bool immutable = false;         // the name holds a hash of the content, so a client may keep it for ever;
                                  // else it has to ask again (cache-control: no-cache) and gets 304 by etag
  std::span<const std::byte> bytes;
  std::span<const std::byte> gzip;    // compressed at build time; empty where that saves nothing
  std::span<const std::byte> brotli;  // likewise
};

// All files, sorted by path. Empty when the program was built without npm: then there is no page.
std::span<const StaticFile> static_files();

// The file for a path as it stands in a request line, without query; null if there is none.
const StaticFile* find_static_file(std::string_view path);

// The Content-Security-Policy header to send with the page: only its own files and its own server, no inline script.
std::string_view page_security_policy();

}  // namespace glimpse
