#include "kernels/backend.h"

#include <sched.h>
#include <sys/mman.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <set>
#include <string>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/stream.h"

namespace glimpse {

namespace cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kPage = 4096;

// What stands before each allocation of the deferred back end, so that freeing it needs no global.
struct DeviceHeader {
  std::shared_ptr<DeviceRanges> ranges;
};

void* map_pages(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return nullptr;
  if (bytes >= kHugePage) madvise(data, bytes, MADV_HUGEPAGE);  // fewer TLB misses; no harm where it is refused
  return data;
}

template <auto kOp, typename Args>
void enqueue(const Args& args, Stream& stream) {
  static_cast<CpuStream&>(stream).submit(kOp, args);
}

constexpr OpTable kOps = {
    .embed = enqueue<cpu::embed, EmbedArgs>,
    .add_norm = enqueue<cpu::add_norm, AddNormArgs>,
    .rope_table = enqueue<cpu::rope_table, RopeTableArgs>,
    .qkv_rope_kv = enqueue<cpu::qkv_rope_kv, QkvRopeKvArgs>,
    .attention_paged = enqueue<cpu::attention_paged, AttentionPagedArgs>,
    .attention_varlen = enqueue<cpu::attention_varlen, AttentionVarlenArgs>,
    .gate_up_silu = enqueue<cpu::gate_up_silu, GateUpSiluArgs>,
    .linear = enqueue<cpu::linear, LinearArgs>,
    .layernorm_gelu = enqueue<cpu::layernorm_gelu, LayerNormGeluArgs>,
    .patch_embed_pos = enqueue<cpu::patch_embed_pos, PatchEmbedPosArgs>,
    .kv_read =
        [](const KvCache& kv, int32_t layer, int32_t slot, float* k, float* v, Stream& stream) {
          enqueue<cpu::kv_read>(KvReadArgs{.kv = &kv, .layer = layer, .slot = slot, .k = k, .v = v}, stream);
        },
    .qkv_rope_kv_workspace = cpu::qkv_rope_kv_workspace,
    .attention_paged_workspace = cpu::attention_paged_workspace,
    .attention_varlen_workspace = cpu::attention_varlen_workspace,
    .gate_up_silu_workspace = cpu::gate_up_silu_workspace,
    .linear_workspace = cpu::linear_workspace,
    .patch_embed_pos_workspace = cpu::patch_embed_pos_workspace,
};

class CpuBackend final : public Backend {
 public:
  CpuBackend(int num_threads, CpuIsa isa, bool deferred)
      : pool_(num_threads), isa_(isa), deferred_(deferred), device_ranges_(std::make_shared<DeviceRanges>()) {}

  std::string_view name() const override { return "cpu"; }
  std::string layout_id() const override { return std::string("cpu-") + isa_name(isa_) + "-" + linear_layout(); }
  DType residual_dtype(WeightFormat) const override { return DType::kF32; }

  Result<Buffer> allocate(size_t bytes, MemoryKind kind) override {
    if (deferred_ && kind == MemoryKind::kDevice) return allocate_tracked(bytes);
    void* data = map_pages(bytes < 1 ? 1 : bytes);
    if (data == nullptr) return out_of_memory(bytes);
    return Buffer(data, bytes, [](void* p, size_t n) { munmap(p, n < 1 ? 1 : n); });
  }

  std::unique_ptr<Stream> make_stream() override {
    if (deferred_) return std::make_unique<DeferredStream>(*this, pool_, isa_, device_ranges_);
    return std::make_unique<CpuStream>(*this, pool_, isa_);
  }

  Result<std::unique_ptr<PackedLinear>> pack(const LinearSpec& spec, const RowReader& read) override {
    Context context{.pool = pool_, .isa = isa_};
    return pack_linear(spec, read, context);
  }
  Result<std::unique_ptr<PackedLinear>> adopt(const LinearSpec& spec, std::span<const std::byte> bytes) override {
    return adopt_linear(spec, bytes);
  }
  Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec) override { return cpu::make_kv(spec, *this); }
  const OpTable& ops() const override { return kOps; }

  int num_host_threads() const override { return pool_.num_threads(); }
  void for_each_on_host(int64_t count, const std::function<void(int64_t, int)>& body) override {
    if (count == 1) return body(0, 0);
    std::atomic<int64_t> next{0};
    pool_.run([&](int thread) {
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) body(i, thread);
    });
  }

 private:
  static Error out_of_memory(size_t bytes) {
    return Error{ErrorCode::kResource, "out of memory: " + std::to_string(bytes) + " bytes"};
  }

  // One page more in front holds the header.
  Result<Buffer> allocate_tracked(size_t bytes) {
    auto* base = static_cast<std::byte*>(map_pages(bytes + kPage));
    if (base == nullptr) return out_of_memory(bytes);
    new (base) DeviceHeader{device_ranges_};
    device_ranges_->add(base + kPage, bytes);
    return Buffer(base + kPage, bytes, [](void* p, size_t n) {
      std::byte* const start = static_cast<std::byte*>(p) - kPage;
      auto* header = reinterpret_cast<DeviceHeader*>(start);
      header->ranges->remove(p);
      header->~DeviceHeader();
      munmap(start, n + kPage);
    });
  }

  Pool pool_;
  const CpuIsa isa_;
  const bool deferred_;
  const std::shared_ptr<DeviceRanges> device_ranges_;
};

// Cores, not hardware threads: a second thread of a core shares its multipliers and only adds contention. Counted by
// the first sibling's number of each processor that this process may run on.
int physical_cores() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return 1;
  std::set<std::string> cores;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &allowed)) continue;
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(i);
    cores.insert(siblings);
  }
  return cores.empty() ? 1 : static_cast<int>(cores.size());
}

}  // namespace
}  // namespace cpu

Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options) {
  const int best = cpu::detect_isa();
  if (best < 0) return Error{ErrorCode::kUnsupported, "this processor lacks AVX2, FMA or F16C"};
  const int isa = options.isa < 0 ? best : options.isa;
  if (isa > best) {
    return Error{ErrorCode::kUnsupported, std::string("this processor lacks ") +
                                              cpu::isa_name(static_cast<CpuIsa>(isa)) + "; its best is " +
                                              cpu::isa_name(static_cast<CpuIsa>(best))};
  }
  const int num_threads = options.num_threads > 0 ? options.num_threads : cpu::physical_cores();
  return std::unique_ptr<Backend>(
      std::make_unique<cpu::CpuBackend>(num_threads, static_cast<CpuIsa>(isa), options.deferred));
}

}  // namespace glimpse
