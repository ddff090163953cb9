#include <cstring>
#include <new>

#include "kernels/reference/ops.h"

namespace glimpse {

namespace reference {
namespace {

constexpr int32_t kBlockSize = 16;
constexpr std::align_val_t kAlignment{64};

class ReferenceStream final : public Stream {
 public:
  explicit ReferenceStream(Backend& backend) : backend_(backend) {}
  Backend& backend() const override { return backend_; }
  void synchronize() override {}
  void copy(void* dst, const void* src, size_t bytes) override {
    if (bytes > 0) std::memmove(dst, src, bytes);
  }
  Status reserve_workspace(size_t) override { return {}; }

 private:
  Backend& backend_;
};

template <auto kOp, typename Args>
void run(const Args& args, Stream&) {
  kOp(args);
}

template <typename Args>
size_t no_workspace(const Args&) {
  return 0;
}

constexpr OpTable kOps = {
    .embed = run<reference::embed, EmbedArgs>,
    .add_norm = run<reference::add_norm, AddNormArgs>,
    .rope_table = run<reference::rope_table, RopeTableArgs>,
    .qkv_rope_kv = run<reference::qkv_rope_kv, QkvRopeKvArgs>,
    .attention_paged = run<reference::attention_paged, AttentionPagedArgs>,
    .attention_varlen = run<reference::attention_varlen, AttentionVarlenArgs>,
    .gate_up_silu = run<reference::gate_up_silu, GateUpSiluArgs>,
    .linear = run<reference::linear, LinearArgs>,
    .layernorm_gelu = run<reference::layernorm_gelu, LayerNormGeluArgs>,
    .patch_embed_pos = run<reference::patch_embed_pos, PatchEmbedPosArgs>,
    .cut_picture = run<reference::cut_picture, CutPictureArgs>,
    .kv_read = [](const KvCache& kv, int32_t layer, int32_t slot, float* k, float* v,
                  Stream&) { reference::kv_read(kv, layer, slot, k, v); },
    .qkv_rope_kv_workspace = no_workspace<QkvRopeKvArgs>,
    .attention_paged_workspace = no_workspace<AttentionPagedArgs>,
    .attention_varlen_workspace = no_workspace<AttentionVarlenArgs>,
    .gate_up_silu_workspace = no_workspace<GateUpSiluArgs>,
    .linear_workspace = no_workspace<LinearArgs>,
    .patch_embed_pos_workspace = no_workspace<PatchEmbedPosArgs>,
    .cut_picture_workspace = no_workspace<CutPictureArgs>,
};

class ReferenceBackend final : public Backend {
 public:
  std::string_view name() const override { return "reference"; }
  std::string layout_id() const override { return "reference-f32-1"; }
  DType residual_dtype(WeightFormat) const override { return DType::kF32; }

  Result<Buffer> allocate(size_t bytes, MemoryKind) override {
    void* data = ::operator new(bytes, kAlignment, std::nothrow);
    if (data == nullptr) return Error{ErrorCode::kResource, "out of memory: " + std::to_string(bytes) + " bytes"};
    std::memset(data, 0, bytes);
    return Buffer(data, bytes, [](void* p, size_t) { ::operator delete(p, kAlignment); });
  }

  std::unique_ptr<Stream> make_stream() override { return std::make_unique<ReferenceStream>(*this); }

  Result<std::unique_ptr<PackedLinear>> pack(const LinearSpec& spec, const RowReader& read) override {
    return std::unique_ptr<PackedLinear>(reference::pack(spec, read));
  }

  Result<std::unique_ptr<PackedLinear>> adopt(const LinearSpec& spec, std::span<const std::byte> bytes) override {
    const size_t expected = static_cast<size_t>(spec.rows * spec.cols) * sizeof(float);
    if (bytes.size() != expected) {
      return Error{ErrorCode::kInvalidData,
                   spec.name + ": " + std::to_string(bytes.size()) + " packed bytes, not " + std::to_string(expected)};
    }
    LinearSpec as_stored = spec;
    as_stored.format = WeightFormat::kF32;
    auto linear = reference::pack(as_stored, [&](int64_t first, int64_t count, float* dst) {
      std::memcpy(dst, bytes.data() + static_cast<size_t>(first * spec.cols) * sizeof(float),
                  static_cast<size_t>(count * spec.cols) * sizeof(float));
    });
    linear->format = spec.format;
    return std::unique_ptr<PackedLinear>(std::move(linear));
  }

  Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec) override {
    auto kv = std::make_unique<ReferenceKv>();
    kv->spec = spec;
    kv->block_size = kBlockSize;
    const int64_t block_floats = int64_t{spec.num_layers} * kBlockSize * 2 * spec.num_kv_heads * spec.head_dim;
    kv->block_bytes = block_floats * static_cast<int64_t>(sizeof(float));
    kv->data.resize(spec.num_blocks * block_floats);
    return std::unique_ptr<KvCache>(std::move(kv));
  }

  const OpTable& ops() const override { return kOps; }
};

}  // namespace
}  // namespace reference

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<reference::ReferenceBackend>();
}

}  // namespace glimpse
