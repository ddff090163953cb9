#include "weights/names.h"

#include <array>

namespace glimpse {

namespace {

struct Prefix {
  std::string_view from;
  std::string_view to;
};
// The first that fits wins, so the longer ones stand first. (glm-v reference, section 8.1.)
constexpr std::array<Prefix, 8> kPrefixes = {{
    {"model.language_model.lm_head.", "lm_head."},
    {"model.language_model.", "model.language_model."},
    {"model.visual.", "model.visual."},
    {"language_model.model.", "model.language_model."},
    {"language_model.lm_head.", "lm_head."},
    {"visual.", "model.visual."},
    {"lm_head.", "lm_head."},
    {"model.", "model.language_model."},
}};

}  // namespace

std::string canonical_tensor_name(std::string_view name) {
  for (const Prefix& prefix : kPrefixes) {
    if (name.starts_with(prefix.from)) return std::string(prefix.to).append(name.substr(prefix.from.size()));
  }
  return std::string(name);
}

}  // namespace glimpse
