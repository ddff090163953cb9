// libFuzzer: any bytes through the picture entry, down to the patches.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "image/preprocess.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  glimpse::ImageOptions options;
  options.max_source_pixels = 1 << 18;  // keeps a run fast
  options.max_pixels = 100'000;
  static glimpse::ImageScratch scratch;
  const auto result = glimpse::preprocess(std::as_bytes(std::span(data, size)), options,
                                          {glimpse::PatchDtype::kBfloat16, glimpse::PatchFrames::kOneFrame}, scratch);
  if (!result && (result.error().message.empty() || result.error().message.find('\n') != std::string::npos)) {
    std::abort();
  }
  return 0;
}
