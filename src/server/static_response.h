#pragma once

#include "page/static_files.h"
#include "server/http_message.h"

namespace glimpse {

// One of the page's files for a browser that has it already, or takes it compressed.
HttpResponse static_response(const StaticFile& file, const HttpRequest& request);

}  // namespace glimpse
