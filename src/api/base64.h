#pragma once

#include <string>
#include <string_view>

#include "api/error.h"

namespace glimpse {

// Base64, standard or URL alphabet, padding optional, ASCII white space skipped. Errors: invalid_image with `param`.
ApiResult<std::string> decode_base64(std::string_view text, std::string_view param);

}  // namespace glimpse
