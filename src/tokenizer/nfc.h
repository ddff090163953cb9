#pragma once

#include <string>
#include <string_view>

namespace glimpse {

// `text` in Unicode normal form C (UAX 15). Bytes that are not UTF-8 stay as they are and keep their neighbours apart.
// Linear up to the sorting of runs of combining marks (n log n), whatever the text.
std::string to_nfc(std::string_view text);

}  // namespace glimpse
