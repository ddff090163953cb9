// A hostile quantised checkpoint: the first byte picks the method, the rest is a safetensors file. Layers are read only
// while they are small: sizes come from the file, and its claims are what is tested.

#include <algorithm>
#include <memory>

#include "weights/checkpoint.h"
#include "weights/quantized.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace glimpse;
  if (size == 0) return 0;
  const auto method = static_cast<QuantMethod>(data[0] % 4);
  const QuantizationConfig config{.method = method,
                                  .bits = (data[0] & 4) != 0 && method == QuantMethod::kGptq ? 8 : 4,
                                  .group_size = (data[0] & 8) != 0 ? 4 : -1,
                                  .symmetric = (data[0] & 16) != 0,
                                  .zeros_less_one = (data[0] & 32) != 0};
  const std::span file(reinterpret_cast<const std::byte*>(data + 1), size - 1);
  auto checkpoint = Checkpoint::open(FileSet::from_memory("fuzz", {{"model.safetensors", file}}));
  if (!checkpoint) return 0;
  const auto source = QuantizedSource::create(std::make_shared<Checkpoint>(std::move(*checkpoint)), config);
  if (!source) return 0;
  for (const TensorInfo& info : (*source)->tensors()) {
    const auto tensor = (*source)->get({info.name, info.shape});
    if (!tensor || !tensor->stored_format()) continue;
    const int64_t rows = std::min<int64_t>(tensor->num_rows(), 9);
    if (tensor->row_size() > 1 << 16) continue;
    std::vector<float> values(static_cast<size_t>(rows * tensor->row_size()));
    (void)tensor->read_rows(tensor->num_rows() - rows, rows, std::span<float>(values));
  }
  return 0;
}
