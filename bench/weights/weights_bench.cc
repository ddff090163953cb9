// How fast weights can be read: dummy rows, conversions, headers. Buffers of a MiB or two stay in the caches' reach of
// a loader that works tensor row by tensor row, so that the arithmetic is measured and not the memory.

#include <benchmark/benchmark.h>

#include <cstring>
#include <string>
#include <vector>

#include "weights/convert.h"
#include "weights/dummy.h"
#include "weights/safetensors.h"

namespace glimpse {
namespace {

constexpr size_t kElements = 1 << 19;  // 1 MiB of bf16

void dummy_bf16(benchmark::State& state) {
  const TensorSpec spec{"w.weight", {int64_t{kElements}, 1}};
  const DummySource source({spec}, 1);
  const auto tensor = source.get(spec);
  std::vector<bf16> out(kElements);
  for (auto _ : state) {
    if (!tensor->read_rows(0, int64_t{kElements}, out)) state.SkipWithError("read");
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * out.size() * sizeof(bf16)));
}
BENCHMARK(dummy_bf16);

// Bytes are counted on the side of the source.
template <typename Out>
void conversion(benchmark::State& state, DType dtype) {
  std::vector<std::byte> source(kElements * dtype_bytes(dtype));
  for (size_t i = 0; i < source.size(); ++i) source[i] = static_cast<std::byte>(i * 37 % 61);
  std::vector<Out> out(kElements);
  for (auto _ : state) {
    convert(dtype, source, std::span<Out>(out));
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * source.size()));
}
void into_bf16(benchmark::State& state, DType dtype) {
  conversion<bf16>(state, dtype);
}
void into_f32(benchmark::State& state, DType dtype) {
  conversion<float>(state, dtype);
}
void into_f16(benchmark::State& state, DType dtype) {
  conversion<f16>(state, dtype);
}
BENCHMARK_CAPTURE(into_bf16, f32, DType::kF32);
BENCHMARK_CAPTURE(into_bf16, f16, DType::kF16);
BENCHMARK_CAPTURE(into_bf16, bf16, DType::kBF16);
BENCHMARK_CAPTURE(into_f32, bf16, DType::kBF16);
BENCHMARK_CAPTURE(into_f32, f16, DType::kF16);
BENCHMARK_CAPTURE(into_f16, f32, DType::kF32);
BENCHMARK_CAPTURE(into_f16, bf16, DType::kBF16);

void header(benchmark::State& state) {
  std::string text = "{";
  const int64_t count = state.range(0);
  for (int64_t i = 0; i < count; ++i) {
    text += (i > 0 ? ",\"model.language_model.layers." : "\"model.language_model.layers.") + std::to_string(i) +
            R"(.self_attn.q_proj.weight":{"dtype":"BF16","shape":[1,1],"data_offsets":[)" + std::to_string(2 * i) +
            "," + std::to_string(2 * i + 2) + "]}";
  }
  text += "}";
  const uint64_t size = text.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &size, 8);
  file += text + std::string(2 * static_cast<size_t>(count), '\0');
  for (auto _ : state) {
    const auto tensors = parse_safetensors(std::as_bytes(std::span(file)), "bench");
    if (!tensors) state.SkipWithError(tensors.error().message.c_str());
    benchmark::DoNotOptimize(tensors->data());
  }
}
BENCHMARK(header)->Arg(704)->Arg(18106)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace glimpse

BENCHMARK_MAIN();
