#include "image/exif.h"

namespace glimpse {

namespace {

constexpr uint32_t kOrientationTag = 0x0112;

int valid_or_upright(uint32_t value) {
  return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
}

}  // namespace

int exif_orientation(Bytes block) {
  using namespace std::string_view_literals;
  for (int i = 0; i < 2 && starts_with(block, "Exif\0\0"sv); ++i) block = block.subspan(6);
  const bool little = starts_with(block, "II*\0"sv);
  if (!little && !starts_with(block, "MM\0*"sv)) return 0;
  const auto get16 = [&](size_t i) { return little ? little16(block, i) : big16(block, i); };
  const auto get32 = [&](size_t i) { return little ? little32(block, i) : big32(block, i); };
  if (block.size() < 8) return 0;
  const size_t directory = get32(4);
  if (directory > block.size() || block.size() - directory < 2) return 0;
  const size_t count = get16(directory);
  int orientation = 0;
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + i * 12;
    if (entry + 12 > block.size()) break;
    if (get16(entry) != kOrientationTag || get32(entry + 4) != 1) continue;
    switch (get16(entry + 2)) {  // the field's type: byte, short or long
      case 1:
        orientation = valid_or_upright(byte_at(block, entry + 8));
        break;
      case 3:
        orientation = valid_or_upright(get16(entry + 8));
        break;
      case 4:
        orientation = valid_or_upright(get32(entry + 8));
        break;
      default:
        break;
    }
  }
  return orientation;
}

int xmp_orientation(Bytes packet) {
  constexpr std::string_view kName = "tiff:Orientation";
  const std::string_view text = as_text(packet);
  for (size_t at = text.find(kName); at != std::string_view::npos; at = text.find(kName, at + 1)) {
    std::string_view rest = text.substr(at + kName.size());
    if (rest.starts_with("=\"")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with(">")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    if (!rest.empty() && rest[0] >= '0' && rest[0] <= '9')
      return valid_or_upright(static_cast<uint32_t>(rest[0] - '0'));
  }
  return 0;
}

int orientation_of(Bytes exif, Bytes xmp) {
  if (const int orientation = exif_orientation(exif); orientation != 0) return orientation;
  if (const int orientation = xmp_orientation(xmp); orientation != 0) return orientation;
  return 1;
}

}  // namespace glimpse
