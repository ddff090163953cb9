#pragma once

// A back end: memory, streams, packed weights, KV cache and one table of ops (kernels/ops.h). Models are written once
// on this interface; nothing above kernels/ asks which device runs, or whether something is fused.
//
// The contract is a GPU's, also on the CPU: an op is enqueued on a stream and may run later; nothing it reads may
// change, and nothing it writes may be read, before the stream was synchronised or an event after it has passed. What
// changes from step to step lies in device memory at fixed addresses (row counts, positions, block tables), so that a
// back end can capture a step once and replay it.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tensor/buffer.h"
#include "tensor/tensor.h"

namespace glimpse {

// On a back end that shares the host's memory a server's pools up to this size are real memory from the start: it does
// not grow while their parts are met for the first time.
inline constexpr size_t kSmallPoolBytes = size_t{256} << 20;

class Backend;
struct OpTable;

// Who consumes a product's output: lets a back end lay out rows for its fused kernels.
enum class LinearConsumer : uint8_t {
  kPlain,
  kQkv,     // rows [q | k | v]
  kGateUp,  // rows [gate | up], equal halves; gate_up_silu multiplies silu(gate) by up
  kHead,    // logits; quantised per row in int8 when the model is quantised to int8 or int4
};

enum class WeightFormat : uint8_t {
  kF32,   // float32 weights and activations
  kBF16,  // bfloat16 weights and activations, float32 sums
  kI8,    // int8 weights with one scale per row, int8 activations with one scale per (row, group)
  kI4,    // int4 weights with one fp16 scale per (row, group), int8 activations likewise (CUDA: bfloat16 activations)
  kF8,    // e4m3 weights with one scale per row, e4m3 activations with one scale per row; CUDA only
};

// A linear layer to pack: y[rows] = W[rows, cols] x[cols] + bias[rows].
struct LinearSpec {
  std::string name;  // for messages and the cache file
  int64_t rows = 0;  // outputs (N)
  int64_t cols = 0;  // inputs (K)
  LinearConsumer consumer = LinearConsumer::kPlain;
  WeightFormat format = WeightFormat::kBF16;
  int32_t group = 128;          // columns per scale: int4 weights, and int8 activations of kI8 and kI4; 32 or 128
  std::span<const float> bias;  // [rows] or empty; copied
};

// How a quantised checkpoint stores a layer.
struct StoredWeights {
  enum class Kind : uint8_t { kInt4, kInt8, kF8 };
  Kind kind = Kind::kInt4;
  int64_t group = 0;         // columns to a scale
  bool plain = true;         // each row has scales of its own, for columns in their order
  bool zero_points = false;  // else 0 is the middle of the range

  bool operator==(const StoredWeights&) const = default;
};

// Writes rows [first, first + count) of W as float32, `cols` values a row, tightly, to dst. Called from several
// threads at once for disjoint ranges; each row is asked for once, by one of the two.
struct RowReader {
  using Float = std::function<void(int64_t first, int64_t count, float* dst)>;
  using BFloat16 = std::function<void(int64_t first, int64_t count, bf16* dst)>;

  RowReader(Float read, BFloat16 read_bf16 = {}) : f32(std::move(read)), bf16s(std::move(read_bf16)) {}
  template <typename F>
    requires std::is_invocable_v<F, int64_t, int64_t, float*>
  RowReader(F read) : f32(std::move(read)) {}  // NOLINT: implicit by design
  void operator()(int64_t first, int64_t count, float* dst) const { f32(first, count, dst); }

  Float f32;
  BFloat16 bf16s;  // the same rounded to bfloat16; may be empty

  // Set where the checkpoint stores just what LinearSpec::format asks for, so that nothing need be rounded again.
  // kI4: values 0..15 [count, cols], scales and zero points [count, cols / stored.group].
  std::function<void(int64_t first, int64_t count, uint8_t* values, float* scales, uint8_t* zeros)> int4;
  // kF8: e4m3 bytes [count, cols] and a scale per row.
  std::function<void(int64_t first, int64_t count, uint8_t* values, float* scales)> f8;
  StoredWeights stored;  // of these two
};

// A packed linear layer, opaque: one packed copy serves every batch size. `bytes` are position-independent and can be
// written to a cache file and later handed to Backend::adopt, by a back end with the same layout_id().
class PackedLinear {
 public:
  virtual ~PackedLinear() = default;
  virtual std::span<const std::byte> bytes() const = 0;

  int64_t rows = 0;
  int64_t cols = 0;
  WeightFormat format = WeightFormat::kBF16;
  int32_t group = 128;
  LinearConsumer consumer = LinearConsumer::kPlain;

  // What `x` of a product with this weight has to be: kF32, kBF16, or kI8 with `group` columns a scale. The back end's
  // decision: this is the CPU's.
  virtual DType input_dtype() const {
    return format == WeightFormat::kF32 ? DType::kF32 : format == WeightFormat::kBF16 ? DType::kBF16 : DType::kI8;
  }
};

struct KvSpec {
  int32_t num_layers = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t num_blocks = 0;
  DType dtype = DType::kBF16;  // kBF16 or kF32
};

// Paged keys and values of all layers. The layout is the back end's; the engine sees block ids. Slot s of the cache is
// token s % block_size of block s / block_size.
class KvCache {
 public:
  virtual ~KvCache() = default;
  KvSpec spec;
  int32_t block_size = 0;   // tokens
  int64_t block_bytes = 0;  // of all layers, keys and values
};

// A point in a stream's work. Made by Backend::make_event, recorded by Stream::record.
class Event {
 public:
  virtual ~Event() = default;
  // Returns when the work before the last record() has finished.
  virtual void wait() const {}
  virtual bool done() const { return true; }
  // Nanoseconds between the passing of `earlier` and of this one, both of which have passed; 0 where nobody measured.
  virtual int64_t ns_since(const Event& earlier) const {
    (void)earlier;
    return 0;
  }
};

// A step that was captured once and can be launched again: same addresses, same capacities, new contents.
class Graph {
 public:
  virtual ~Graph() = default;
};

// An ordered queue of work. One thread enqueues; what was enqueued runs in order.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Backend& backend() const = 0;
  // Returns when all work enqueued so far has finished.
  virtual void synchronize() = 0;
  // Copies between host and device memory (either direction, or within one), in stream order. The source may not
  // change and the destination may not be read before the stream reaches the end of the copy.
  virtual void copy(void* dst, const void* src, size_t bytes) = 0;
  // Scratch memory of the ops, sized once at start to the largest OpTable::workspace of the ops that will run here.
  // Grows only; call it while the stream is idle. Errors: kResource.
  virtual Status reserve_workspace(size_t bytes) = 0;

  // Between the two, work is recorded instead of run (only if Backend::captures_graphs()). Errors: kResource.
  virtual void begin_capture() {}
  virtual Result<std::unique_ptr<Graph>> end_capture() {
    return Error{ErrorCode::kUnsupported, "this back end captures no graphs"};
  }
  virtual void launch(const Graph&) {}

  // Marks the work enqueued so far; makes what follows here wait for another stream's mark. A back end whose streams
  // finish inside enqueue has nothing to do.
  virtual void record(Event&) { synchronize(); }
  virtual void wait(const Event& event) { event.wait(); }
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  // Names everything that decides the meaning of PackedLinear::bytes: back end, instruction set, layout version.
  virtual std::string layout_id() const = 0;
  // The dtype of the residual stream for weights of `format` (the CPU keeps it in float32).
  virtual DType residual_dtype(WeightFormat format) const = 0;
  // The dtype of what a layer adds to it.
  virtual DType branch_dtype(WeightFormat format) const { return residual_dtype(format); }
  // Whether the host may read and write device memory, and ops may read the host's.
  virtual bool shares_host_memory() const { return true; }
  virtual bool captures_graphs() const { return false; }
  // Bytes of device memory: free now, and in all. 0 where that is the host's. From any thread.
  struct DeviceMemory {
    size_t free = 0;
    size_t total = 0;
  };
  virtual DeviceMemory device_memory() const { return {}; }
  // The share of the last moments in which the device worked, for whomever; negative: not known. From any thread.
  virtual double device_load() const { return -1; }

  // Zeroed memory, 64-byte aligned or better. Errors: kResource with the number of bytes.
  virtual Result<Buffer> allocate(size_t bytes, MemoryKind kind) = 0;
  // Work on a background stream gives way to work on the others, where a device can do that.
  virtual std::unique_ptr<Stream> make_stream() = 0;
  virtual std::unique_ptr<Stream> make_background_stream() { return make_stream(); }
  virtual std::unique_ptr<Event> make_event() { return std::make_unique<Event>(); }
  // Fills device memory with `count` rows of row_bytes each, which `write` makes in host memory, in pieces, perhaps
  // from several threads at once. Returns when all of it is there.
  using RowWriter = std::function<void(int64_t first, int64_t count, std::byte* dst)>;
  virtual void fill(void* device, int64_t count, size_t row_bytes, const RowWriter& write) {
    (void)row_bytes;
    write(0, count, static_cast<std::byte*>(device));
  }
  // Row counts up to `most`, falling, each for a class of them: a step of so many rows lets the back end choose how it
  // does the class's products, which takes long and is asked for at the start. Empty where nothing is chosen.
  virtual std::vector<int32_t> row_classes(int32_t most) const {
    (void)most;
    return {};
  }
  // The format that keeps weights stored so best, and where there is a choice its group. The CPU: int4 in its own
  // groups where they are symmetric, other integers as int8, fp8 as bfloat16.
  virtual WeightFormat format_for(const StoredWeights& stored, int64_t /*cols*/) const {
    if (stored.kind == StoredWeights::Kind::kF8) return WeightFormat::kBF16;
    const bool own_groups = stored.group == 32 || stored.group == 128;
    return stored.kind == StoredWeights::Kind::kInt4 && stored.plain && own_groups && !stored.zero_points
               ? WeightFormat::kI4
               : WeightFormat::kI8;
  }
  // Packs a layer's rows. Errors: kResource.
  virtual Result<std::unique_ptr<PackedLinear>> pack(const LinearSpec& spec, const RowReader& read) = 0;
  // A layer from bytes that pack() made under the same layout_id(). On the CPU the bytes are borrowed and have to
  // outlive the result. Errors: kInvalidData when the size or the header does not fit the spec.
  virtual Result<std::unique_ptr<PackedLinear>> adopt(const LinearSpec& spec, std::span<const std::byte> bytes) = 0;
  // Errors: kResource.
  virtual Result<std::unique_ptr<KvCache>> make_kv(const KvSpec& spec) = 0;
  virtual const OpTable& ops() const = 0;

  // Work of the host beside the ops, such as sampling: calls body(i, thread) for every i in [0, count), thread in
  // [0, num_host_threads()), on the CPU back end's threads; elsewhere one after the other. Returns when all are done.
  virtual int num_host_threads() const { return 1; }
  virtual void for_each_on_host(int64_t count, const std::function<void(int64_t i, int thread)>& body) {
    for (int64_t i = 0; i < count; ++i) body(i, 0);
  }
};

// The plain fp32 definition of every op, single-threaded. Packs to float32 (int8 and int4 formats: to the quantised
// values, so that it is the reference of the fast kernels too).
std::unique_ptr<Backend> make_reference_backend();

// kAvx512Bf16: with BF16 and VNNI; kAmx: and the tile registers, for BF16 and INT8.
enum class CpuIsa : uint8_t { kAvx2, kAvx512, kAvx512Bf16, kAmx };

struct CpuOptions {
  int num_threads = 0;    // 0: one per physical core this process may run on
  int isa = -1;           // -1: the best this processor has; otherwise a CpuIsa, for tests
  bool deferred = false;  // tests: streams run later on another thread and poison what is read too early
};

struct CudaOptions {
  int device = 0;
};

// The CUDA back end, from libglimpse_cuda.so: named by $GLIMPSE_CUDA_LIBRARY, or beside the executable, or where the
// dynamic linker looks. Errors: kUnsupported when there is no library, no driver, no device, or it was built for
// another version; kResource when the device cannot be used.
Result<std::unique_ptr<Backend>> make_cuda_backend(const CudaOptions& options);

// The CPU back end. Errors: kUnsupported when the processor lacks AVX2 and FMA, or the ISA that was asked for.
Result<std::unique_ptr<Backend>> make_cpu_backend(const CpuOptions& options);

}  // namespace glimpse
