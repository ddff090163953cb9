#include "page/static_files.h"

#include <algorithm>

// Written at build time by web/tools/pack.mjs, or empty:
//   PAGE_FILE(index, path, content_type, etag, immutable)
// with glimpse_page_<index>{,_gzip,_brotli} and the same with _end in page_files.S. An absent encoding has no bytes.
#define PAGE_FILE(index, ...)                                   \
  extern "C" const std::byte glimpse_page_##index[];            \
  extern "C" const std::byte glimpse_page_##index##_end[];      \
  extern "C" const std::byte glimpse_page_##index##_gzip[];     \
  extern "C" const std::byte glimpse_page_##index##_gzip_end[]; \
  extern "C" const std::byte glimpse_page_##index##_brotli[];   \
  extern "C" const std::byte glimpse_page_##index##_brotli_end[];
#include "page_files.inc"
#undef PAGE_FILE

namespace glimpse {

std::span<const StaticFile> static_files() {
#define PAGE_FILE(index, path, content_type, etag, immutable)                \
  StaticFile{path,                                                           \
             content_type,                                                   \
             etag,                                                           \
             immutable,                                                      \
             {glimpse_page_##index, glimpse_page_##index##_end},             \
             {glimpse_page_##index##_gzip, glimpse_page_##index##_gzip_end}, \
             {glimpse_page_##index##_brotli, glimpse_page_##index##_brotli_end}},
  // A file of its own at the end keeps the array from being empty; it is not handed out.
  static const StaticFile files[] = {
#include "page_files.inc"
      StaticFile{}};
#undef PAGE_FILE
  return std::span(files).first(std::size(files) - 1);
}

const StaticFile* find_static_file(std::string_view path) {
  const auto files = static_files();
  const auto file = std::ranges::lower_bound(files, path, {}, &StaticFile::path);
  return file != files.end() && file->path == path ? &*file : nullptr;
}

std::string_view page_security_policy() {
  // blob: is how the page shows a picture that was chosen but not uploaded, and reads it in its worker.
  return "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; "
         "img-src 'self' blob: data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; "
         "form-action 'none'; frame-ancestors 'none'";
}

}  // namespace glimpse
