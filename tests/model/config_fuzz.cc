// Any bytes as config.json: an error of one line, or a config whose tensor list can be made and does not overflow.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "model/config.h"
#include "model/generation_config.h"
#include "model/tensors.h"
#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto generation = glimpse::parse_generation_config(text, "fuzz");
  const auto config = glimpse::parse_model_config(text, "fuzz");
  if (!config) {
    if (config.error().message.empty() || config.error().message.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  for (const auto& spec : glimpse::expected_tensors(*config)) {
    const auto elements = glimpse::num_elements(spec.shape);
    if (!elements || *elements <= 0) std::abort();
  }
  if (generation && !glimpse::resolve_eos(*config, *generation)) return 0;
  return 0;
}
