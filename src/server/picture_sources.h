#pragma once

// Finds the pictures that a request names: in its body, among the owner's files, behind an allowed URL.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/content.h"
#include "server/file_store.h"
#include "server/media_fetch.h"
#include "server/preparation.h"

namespace glimpse {

// Pictures that came with the request, by the name under which the body refers to them.
struct Attachment {
  PicturePtr picture;
  FilePtr file;  // if it was kept as one
};
using Attachments = std::map<std::string, Attachment, std::less<>>;

class PictureSources {
 public:
  PictureSources(FileStore& files, Preparation& preparation, MediaFetch& fetch, WorkPool& pool, const Clock& clock)
      : files_(files), preparation_(preparation), fetch_(fetch), pool_(pool), clock_(clock) {}

  struct Asker {
    std::string owner;
    const Attachments* attachments = nullptr;  // may be null
    Priority priority = Priority::kInteractive;
    CancelFlag cancelled;
  };
  // All of them, in order, worked on at the same time. The first error, in that order, is returned. `sources` gives up
  // its data.
  Task<ApiResult<std::vector<PreparedPicture>>> resolve(std::vector<ImageSource> sources, Asker asker);

 private:
  Task<ApiResult<PreparedPicture>> resolve_one(ImageSource source, const Asker& asker);
  Task<ApiResult<PicturePtr>> find(ImageSource& source, const Asker& asker, FilePtr& file);

  FileStore& files_;
  Preparation& preparation_;
  MediaFetch& fetch_;
  WorkPool& pool_;
  const Clock& clock_;
};

}  // namespace glimpse
