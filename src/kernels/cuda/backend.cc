#include "kernels/cuda/backend.h"

#include <cuda_runtime.h>
#include <sched.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "base/check.h"
#include "kernels/cuda/error.h"
#include "kernels/cuda/kv_cache.h"
#include "kernels/cuda/nvml.h"
#include "kernels/cuda/ops.h"
#include "kernels/cuda/packed.h"
#include "kernels/cuda/products.h"
#include "kernels/cuda/stream.h"
#include "kernels/cuda/upload.h"

namespace glimpse::cuda {

namespace {

template <auto kOp, typename Args>
void enqueue(const Args& args, Stream& stream) {
  kOp(args, cuda_stream(stream));
}

constexpr OpTable kOps = {
    .embed = enqueue<cuda::embed, EmbedArgs>,
    .add_norm = enqueue<cuda::add_norm, AddNormArgs>,
    .rope_table = enqueue<cuda::rope_table, RopeTableArgs>,
    .qkv_rope_kv = enqueue<cuda::qkv_rope_kv, QkvRopeKvArgs>,
    .attention_paged = enqueue<cuda::attention_paged, AttentionPagedArgs>,
    .attention_varlen = enqueue<cuda::attention_varlen, AttentionVarlenArgs>,
    .gate_up_silu = enqueue<cuda::gate_up_silu, GateUpSiluArgs>,
    .linear = enqueue<cuda::linear, LinearArgs>,
    .layernorm_gelu = enqueue<cuda::layernorm_gelu, LayerNormGeluArgs>,
    .patch_embed_pos = enqueue<cuda::patch_embed_pos, PatchEmbedPosArgs>,
    .cut_picture = enqueue<cuda::cut_picture, CutPictureArgs>,
    .sample = enqueue<cuda::sample, SampleArgs>,
    .kv_read = [](const KvCache& kv, int32_t layer, int32_t slot, float* k, float* v,
                  Stream& stream) { cuda::kv_read(kv, layer, slot, k, v, cuda_stream(stream)); },
    .qkv_rope_kv_workspace = cuda::qkv_rope_kv_workspace,
    .attention_paged_workspace = cuda::attention_paged_workspace,
    .attention_varlen_workspace = cuda::attention_varlen_workspace,
    .gate_up_silu_workspace = cuda::gate_up_silu_workspace,
    .linear_workspace = cuda::linear_workspace,
    .patch_embed_pos_workspace = cuda::patch_embed_pos_workspace,
    .cut_picture_workspace = cuda::cut_picture_workspace,
    .sample_workspace = cuda::sample_workspace,
};

int allowed_threads() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  return sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, const cudaDeviceProp& properties)
      : device_(device), properties_(properties), uploader_(std::min(16, allowed_threads())) {}

  std::string_view name() const override { return "cuda"; }
  std::string layout_id() const override {
    return "cuda-sm" + std::to_string(properties_.major) + std::to_string(properties_.minor) + "-2";
  }
  // bfloat16 as the reference implementation has it: float32 costs 1.5 % of a prefill and gains nothing measurable.
  DType residual_dtype(WeightFormat format) const override {
    return format == WeightFormat::kF32 ? DType::kF32 : DType::kBF16;
  }
  DType branch_dtype(WeightFormat format) const override {
    return format == WeightFormat::kF32 ? DType::kF32 : DType::kBF16;
  }
  bool shares_host_memory() const override { return false; }
  bool captures_graphs() const override { return true; }
  DeviceMemory device_memory() const override {
    use_device();
    DeviceMemory memory;
    if (cudaMemGetInfo(&memory.free, &memory.total) != cudaSuccess) return {};  // /load asks: no reason to end
    return memory;
  }
  double device_load() const override { return nvml_load(device_); }

  Result<Buffer> allocate(size_t bytes, MemoryKind kind) override {
    use_device();
    void* data = nullptr;
    const size_t size = std::max<size_t>(bytes, 1);
    if (kind == MemoryKind::kPinnedHost) {
      if (cudaMallocHost(&data, size) != cudaSuccess) return out_of_memory(bytes, "pinned host");
      std::memset(data, 0, size);
      return Buffer(data, bytes, [](void* p, size_t) { cudaFreeHost(p); });
    }
    if (cudaMalloc(&data, size) != cudaSuccess) return out_of_memory(bytes, "device");
    CUDA_CHECK(cudaMemset(data, 0, size));
    CUDA_CHECK(cudaStreamSynchronize(nullptr));  // streams of ours do not wait for the default one
    return Buffer(data, bytes, [](void* p, size_t) { cudaFree(p); });
  }

  std::unique_ptr<Stream> make_stream() override {
    use_device();
    return std::make_unique<CudaStream>(*this, products_, false);
  }
  std::unique_ptr<Stream> make_background_stream() override {
    use_device();
    return std::make_unique<CudaStream>(*this, products_, true);
  }
  std::unique_ptr<Event> make_event() override {
    use_device();
    return std::make_unique<CudaEvent>();
  }

  void fill(void* device, int64_t count, size_t row_bytes, const RowWriter& write) override {
    use_device();
    uploader_.run(device, count, row_bytes, write);
  }

  std::vector<int32_t> row_classes(int32_t most) const override { return Products::row_classes(most); }

  WeightFormat format_for(const StoredWeights& stored, int64_t cols) const override {
    if (stored.kind == StoredWeights::Kind::kF8 && stored.plain && stored.group == cols) return WeightFormat::kF8;
    const bool whole_groups = (stored.group % 128 == 0 || stored.group == cols) && cols % 128 == 0;
    return stored.kind == StoredWeights::Kind::kInt4 && stored.plain && whole_groups ? WeightFormat::kI4
                                                                                     : WeightFormat::kBF16;
  }

  Result<std::unique_ptr<PackedLinear>> pack(const LinearSpec& spec, const RowReader& read) override {
    ASSIGN_OR_RETURN(
        auto linear,
        pack_linear(spec, read,
                    {.allocate = [this](size_t bytes) { return allocate(bytes, MemoryKind::kDevice); },
                     .upload = [this](void* device, int64_t count, size_t row_bytes,
                                      const RowWriter& write) { fill(device, count, row_bytes, write); }}));
    return std::unique_ptr<PackedLinear>(std::move(linear));
  }

  Result<std::unique_ptr<PackedLinear>> adopt(const LinearSpec& spec, std::span<const std::byte>) override {
    return Error{ErrorCode::kUnsupported, spec.name + ": CUDA keeps no packed weights on disk"};
  }

  Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec) override {
    auto kv = std::make_unique<CudaKv>();
    kv->spec = spec;
    kv->block_size = kKvBlockSize;
    kv->block_bytes = static_cast<int64_t>(kv->part_bytes()) * 2 * spec.num_layers / std::max(spec.num_blocks, 1);
    ASSIGN_OR_RETURN(kv->memory,
                     allocate(kv->part_bytes() * 2 * static_cast<size_t>(spec.num_layers), MemoryKind::kDevice));
    return std::unique_ptr<KvCache>(std::move(kv));
  }

  const OpTable& ops() const override { return kOps; }

 private:
  // Every thread that comes here has its own current device.
  void use_device() const { CUDA_CHECK(cudaSetDevice(device_)); }

  Error out_of_memory(size_t bytes, const char* kind) const {
    cudaGetLastError();
    size_t free = 0;
    size_t total = 0;
    cudaMemGetInfo(&free, &total);
    return Error{ErrorCode::kResource, std::string("out of ") + kind + " memory: " + std::to_string(bytes) +
                                           " bytes wanted, " + std::to_string(free) + " of " + std::to_string(total) +
                                           " free on the device"};
  }

  const int device_;
  const cudaDeviceProp properties_;
  Products products_;
  Uploader uploader_;
};

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(const CudaOptions& options) {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0) {
    return Error{ErrorCode::kUnsupported, "no CUDA device, or no driver for it"};
  }
  if (options.device < 0 || options.device >= count) {
    return Error{ErrorCode::kUnsupported,
                 "CUDA device " + std::to_string(options.device) + " of " + std::to_string(count) + " does not exist"};
  }
  cudaDeviceProp properties;
  CUDA_CHECK(cudaGetDeviceProperties(&properties, options.device));
  cudaError_t error = cudaSetDevice(options.device);
  if (error == cudaSuccess) error = cudaFree(nullptr);  // makes the context
  if (error != cudaSuccess) {
    return Error{ErrorCode::kResource, std::string(properties.name) + " cannot be used: " + cudaGetErrorString(error)};
  }
  return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(options.device, properties));
}

}  // namespace glimpse::cuda
