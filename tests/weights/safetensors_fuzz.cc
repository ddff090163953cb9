// Any bytes as a .safetensors file: an error, or tensors that lie inside it and cover it.

#include <cstdint>
#include <cstdlib>

#include "weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto tensors = glimpse::parse_safetensors(file, "fuzz");
  if (!tensors) {
    if (tensors.error().message.empty() || tensors.error().message.find('\n') != std::string::npos) std::abort();
    return 0;
  }
  size_t total = 0;
  for (const auto& tensor : *tensors) {
    if (tensor.bytes.data() < file.data() || tensor.bytes.data() + tensor.bytes.size() > file.data() + file.size()) {
      std::abort();
    }
    const auto elements = glimpse::num_elements(tensor.shape);
    if (!elements || static_cast<size_t>(*elements) * dtype_bytes(tensor.dtype) != tensor.bytes.size()) std::abort();
    total += tensor.bytes.size();
  }
  if (total > size) std::abort();
  return 0;
}
