// Attention on the device: every launch shape is verified against float64 first (random inputs, large magnitudes,
// ragged lengths, one past a block, NaN in whatever nobody may read, poisoned outputs), then timed.
//
//   attention_bench [verify] [varlen] [prefill] [decode]      all of them without names; exit 1 when anything is wrong
//
// Times are medians. cold: after 256 MB of other traffic, one launch between two events; warm: launches back to back in
// a graph, over several layers' caches, as in a model. Shares are of what the same run measured: warpgroup products
// from shared memory, and copying (bytes read and written).

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/cuda/attention_truth.cuh"
#include "kernels/cuda/attention_fast.h"
#include "kernels/cuda/hopper.cuh"

namespace glimpse::bench {
namespace {

void check(cudaError_t error, const char* what, int line) {
  if (error == cudaSuccess) return;
  std::printf("line %d: %s: %s\n", line, what, cudaGetErrorString(error));
  std::exit(1);
}
#define CUDA(call) check(call, #call, __LINE__)

__device__ uint32_t mixed(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

// Normal values times `size`; with `outliers`, one in 64 is eight times as large.
template <typename T>
__global__ void fill_normal(T* p, int64_t count, uint32_t seed, float size, bool outliers) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    const uint32_t a = mixed(static_cast<uint32_t>(i) * 2 + seed * 0x9e3779b9u), b = mixed(a + 0x68bc21ebu);
    const float u = (static_cast<float>(a) + 1) * 0x1p-32f, w = static_cast<float>(b) * 0x1p-32f;
    float x = sqrtf(-2 * logf(fminf(u, 1.0f))) * cospif(2 * w) * size;
    if (outliers && b % 64 == 0) x *= 8;
    p[i] = static_cast<T>(x);
  }
}

struct Device {
  int sms = 0, capability = 0;
  cudaStream_t stream = nullptr;
  std::vector<void*> owned;
  void* flush = nullptr;  // kFlush bytes
  static constexpr size_t kFlush = size_t{256} << 20;
  int32_t* counters = nullptr;
  double copy_rate = 0, product_rate = 0;

  template <typename T>
  T* allocate(size_t count) {
    void* p = nullptr;
    CUDA(cudaMalloc(&p, std::max<size_t>(count, 1) * sizeof(T)));
    owned.push_back(p);
    return static_cast<T*>(p);
  }
  template <typename T>
  T* upload(const std::vector<T>& values) {
    T* p = allocate<T>(values.size());
    CUDA(cudaMemcpy(p, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return p;
  }
  void release() {
    CUDA(cudaDeviceSynchronize());
    for (void* p : owned) CUDA(cudaFree(p));
    owned.clear();
  }
  cuda::AttentionLaunch launch(void* workspace, bool pdl) const {
    return {.stream = stream,
            .sm_count = sms,
            .compute_capability = capability,
            .pdl = pdl,
            .workspace = workspace,
            .counters = counters};
  }

  double seconds_cold(const std::function<void()>& work) const {
    cudaEvent_t begin, end;
    CUDA(cudaEventCreate(&begin));
    CUDA(cudaEventCreate(&end));
    std::vector<double> times;
    for (int i = 0; i < 12; ++i) {
      CUDA(cudaMemsetAsync(flush, i, kFlush, stream));
      CUDA(cudaEventRecord(begin, stream));
      work();
      CUDA(cudaEventRecord(end, stream));
      CUDA(cudaEventSynchronize(end));
      float ms = 0;
      CUDA(cudaEventElapsedTime(&ms, begin, end));
      if (i >= 2) times.push_back(ms * 1e-3);
    }
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
  // Per call of `work`, `calls` of which (given 0, 1, ...) are captured in one graph.
  double seconds_warm(int calls, const std::function<void(int)>& work) const {
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    for (int i = 0; i < calls; ++i) work(i);
    CUDA(cudaStreamEndCapture(stream, &graph));
    CUDA(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin, end;
    CUDA(cudaEventCreate(&begin));
    CUDA(cudaEventCreate(&end));
    std::vector<double> times;
    for (int i = 0; i < 12; ++i) {
      CUDA(cudaEventRecord(begin, stream));
      CUDA(cudaGraphLaunch(exec, stream));
      CUDA(cudaEventRecord(end, stream));
      CUDA(cudaEventSynchronize(end));
      float ms = 0;
      CUDA(cudaEventElapsedTime(&ms, begin, end));
      if (i >= 2) times.push_back(ms * 1e-3 / calls);
    }
    CUDA(cudaGraphExecDestroy(exec));
    CUDA(cudaGraphDestroy(graph));
    std::ranges::sort(times);
    return times[times.size() / 2];
  }
};

// --- Ceilings.

__global__ void __launch_bounds__(384, 1) product_rate_kernel(const uint32_t* random, float* sink, int rounds) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ std::byte memory[];
  auto* base = reinterpret_cast<std::byte*>((reinterpret_cast<uintptr_t>(memory) + 1023) & ~uintptr_t{1023});
  for (int i = threadIdx.x; i < 64 * 1024 / 4; i += 384) reinterpret_cast<uint32_t*>(base)[i] = random[i];
  cuda::fence_shared_for_async();
  __syncthreads();
  float d[64] = {};
  const uint64_t a = cuda::product_operand(base + threadIdx.x / 128 * 8192, 16, 1024);
  const uint64_t b = cuda::product_operand(base + 32 * 1024, 16, 1024);
  for (int i = 0; i < rounds; ++i) {
    cuda::product_fence();
#pragma unroll
    for (int step = 0; step < 8; ++step)
      cuda::product_ss<true>(d, a + step % 4 * 2, b + (step % 4 * 2 + step / 4 * 1024));
    cuda::product_commit();
    cuda::product_wait<0>();
    cuda::pin_registers(d);
  }
  float sum = 0;
  for (float x : d) sum += x;
  if (sum == 12345.0f) *sink = sum;
#endif
}

void measure_ceilings(Device& device) {
  const size_t bytes = size_t{2} << 30;
  auto* a = device.allocate<std::byte>(bytes);
  auto* b = device.allocate<std::byte>(bytes);
  CUDA(cudaMemset(a, 1, bytes));
  device.copy_rate = 2.0 * static_cast<double>(bytes) / device.seconds_warm(4, [&](int) {
    CUDA(cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, device.stream));
  });
  auto* random = reinterpret_cast<__nv_bfloat16*>(a);
  fill_normal<<<64, 256, 0, device.stream>>>(random, 64 * 1024 / 2, 1, 1.0f, false);
  CUDA(cudaFuncSetAttribute(product_rate_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 66 * 1024));
  const int rounds = 20000;
  const double seconds = device.seconds_cold([&] {
    product_rate_kernel<<<device.sms, 384, 66 * 1024, device.stream>>>(reinterpret_cast<uint32_t*>(random),
                                                                       reinterpret_cast<float*>(b), rounds);
  });
  device.product_rate = 2.0 * 64 * 128 * 16 * 8 * 3 * rounds * device.sms / seconds;
  cudaDeviceProp properties{};
  CUDA(cudaGetDeviceProperties(&properties, 0));
  std::printf("%s, %d multiprocessors; copy %.2f TB/s; bf16 products %.0f TFLOP/s\n", properties.name, device.sms,
              device.copy_rate / 1e12, device.product_rate / 1e12);
  device.release();
}

// --- Cases.

struct Case {
  bool paged = false;
  std::vector<int32_t> queries;   // per sequence or segment
  std::vector<int32_t> contexts;  // paged
  int32_t heads = 12, kv_heads = 12, head_dim = 128;
  DType dtype = DType::kBF16, q_dtype = DType::kBF16, out = DType::kBF16;
  float size = 1;
  int32_t layers = 1;  // caches, or copies of qkv: 0 is verified
  int32_t extra = 3;   // padding rows
  int32_t seq_extra = 2;
};

std::string describe(const Case& c) {
  std::string text = c.paged ? "paged " : "varlen ";
  text += std::to_string(c.heads) + "/" + std::to_string(c.kv_heads) + "x" + std::to_string(c.head_dim) + " " +
          std::string(dtype_name(c.dtype)) + ">" + std::string(dtype_name(c.out)) + " size " +
          std::to_string(c.size).substr(0, 4);
  for (size_t s = 0; s < std::min<size_t>(c.queries.size(), 8); ++s) {
    text += " " + std::to_string(c.queries[s]);
    if (c.paged) text += "/" + std::to_string(c.contexts[s]);
  }
  if (c.queries.size() > 8) text += " ... (" + std::to_string(c.queries.size()) + ")";
  return text;
}

// A case on the device.
struct Setup {
  Device& device;
  const Case& c;
  AttentionPagedArgs paged;
  AttentionVarlenArgs varlen;
  std::vector<cuda::KvLayer> kv;
  std::vector<void*> qkv;
  void* workspace = nullptr;
  int32_t tokens = 0, capacity = 0;
  size_t out_bytes = 0;

  Setup(Device& on, const Case& given, uint32_t seed) : device(on), c(given) {
    std::vector<int32_t> cu = {0};
    for (const int32_t n : c.queries) cu.push_back(cu.back() + n);
    tokens = cu.back();
    capacity = tokens + c.extra;
    const auto seqs = static_cast<int32_t>(c.queries.size());
    const int64_t width = int64_t{c.heads} * c.head_dim;
    const Rows token_rows{.count = device.upload(std::vector<int32_t>{tokens}), .capacity = capacity};
    const Rows seq_rows{.count = device.upload(std::vector<int32_t>{seqs}), .capacity = seqs + c.seq_extra};
    cu.resize(cu.size() + c.seq_extra, 0x7f7f7f7f);
    out_bytes = static_cast<size_t>(capacity * width) * dtype_bytes(c.out);
    const Activation out{.values = {.data = device.allocate<std::byte>(out_bytes),
                                    .dtype = c.out,
                                    .rows = capacity,
                                    .cols = width,
                                    .stride = width}};
    const auto rows = [&](int64_t columns, DType dtype, uint32_t key, float size) {
      const int64_t bytes = static_cast<int64_t>(dtype_bytes(dtype));
      auto* p = device.allocate<std::byte>(static_cast<size_t>(capacity * columns * bytes));
      CUDA(cudaMemset(p, 0xff, static_cast<size_t>(capacity * columns * bytes)));
      fill(p, dtype, tokens * columns, key, size);
      return p;
    };
    const float scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim));
    if (!c.paged) {
      for (int32_t layer = 0; layer < c.layers; ++layer) qkv.push_back(rows(3 * width, c.dtype, seed + layer, c.size));
      varlen = {.tokens = token_rows,
                .segments = seq_rows,
                .cu_seqlens = device.upload(cu),
                .num_heads = c.heads,
                .head_dim = c.head_dim,
                .scale = scale,
                .qkv = {.data = qkv[0], .dtype = c.dtype, .rows = capacity, .cols = 3 * width, .stride = 3 * width},
                .out = out};
      CUDA(cudaDeviceSynchronize());
      return;
    }
    make_cache(seed);
    std::vector<int32_t> contexts = c.contexts;
    contexts.resize(contexts.size() + c.seq_extra, 0x7f7f7f7f);
    paged.tokens = token_rows;
    paged.seqs = seq_rows;
    paged.cu_seqlens = device.upload(cu);
    paged.context_lens = device.upload(contexts);
    paged.num_heads = c.heads;
    paged.scale = scale;
    paged.q = {.data = rows(width, c.q_dtype, seed + 77, c.size),
               .dtype = c.q_dtype,
               .rows = capacity,
               .cols = width,
               .stride = width};
    paged.out = out;
    const size_t bytes = cuda::fast_attention_paged_workspace(paged, kv[0], device.sms);
    workspace = device.allocate<std::byte>(bytes);
    CUDA(cudaMemset(workspace, 0xff, bytes));
    CUDA(cudaDeviceSynchronize());
  }

  static void fill(void* p, DType dtype, int64_t count, uint32_t key, float size) {
    if (dtype == DType::kF32) {
      fill_normal<<<512, 256>>>(static_cast<float*>(p), count, key, size, size > 1);
    } else {
      fill_normal<<<512, 256>>>(static_cast<__nv_bfloat16*>(p), count, key, size, size > 1);
    }
    CUDA(cudaGetLastError());
  }

  // Blocks in random order; NaN in every slot that no sequence owns.
  void make_cache(uint32_t seed) {
    int32_t blocks = 1, max_blocks = 2;
    for (const int32_t context : c.contexts) {
      const int32_t need = (context + cuda::kKvBlockSize - 1) / cuda::kKvBlockSize;
      blocks += need;
      max_blocks = std::max(max_blocks, need + 1);
    }
    std::vector<int32_t> order(blocks), table((c.contexts.size() + c.seq_extra) * max_blocks, 0x7f7f7f7f);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), std::mt19937(seed));
    const size_t bytes = dtype_bytes(c.dtype);
    const size_t row = static_cast<size_t>(c.head_dim) * bytes;
    const size_t tile = cuda::kKvBlockSize * row;
    for (int32_t layer = 0; layer < c.layers; ++layer) {
      cuda::KvLayer one{.dtype = c.dtype, .num_blocks = blocks, .num_kv_heads = c.kv_heads, .head_dim = c.head_dim};
      for (void** part : {&one.k, &one.v}) {
        *part = device.allocate<std::byte>(blocks * c.kv_heads * tile);
        fill(*part, c.dtype, static_cast<int64_t>(blocks) * c.kv_heads * cuda::kKvBlockSize * c.head_dim,
             seed + 100 + static_cast<uint32_t>(kv.size()) * 2 + (part == &one.v), part == &one.v ? 1.0f : c.size);
        auto* bytes_of = static_cast<std::byte*>(*part);
        size_t next = 0;
        for (const int32_t context : c.contexts) {
          const int32_t need = (context + cuda::kKvBlockSize - 1) / cuda::kKvBlockSize;
          const int32_t used = context % cuda::kKvBlockSize;
          next += need;
          if (used == 0) continue;
          for (int32_t h = 0; h < c.kv_heads; ++h) {
            CUDA(cudaMemset(bytes_of + (static_cast<size_t>(order[next - 1]) * c.kv_heads + h) * tile + used * row,
                            0xff, tile - used * row));
          }
        }
        CUDA(
            cudaMemset(bytes_of + static_cast<size_t>(order[blocks - 1]) * c.kv_heads * tile, 0xff, c.kv_heads * tile));
      }
      kv.push_back(one);
    }
    size_t next = 0;
    for (size_t s = 0; s < c.contexts.size(); ++s) {
      const int32_t need = (c.contexts[s] + cuda::kKvBlockSize - 1) / cuda::kKvBlockSize;
      for (int32_t b = 0; b < need; ++b) table[s * max_blocks + b] = order[next++];
    }
    paged.block_table = device.upload(table);
    paged.max_blocks = max_blocks;
  }

  void run(int layer, bool pdl) {
    AttentionVarlenArgs args = varlen;
    if (!c.paged) args.qkv.data = qkv[layer];
    const bool taken = c.paged ? cuda::fast_attention_paged(paged, kv[layer], device.launch(workspace, pdl))
                               : cuda::fast_attention_varlen(args, device.launch(nullptr, pdl));
    CHECK(taken, describe(c));
  }

  std::vector<float> output() const {
    const int64_t width = int64_t{c.heads} * c.head_dim;
    const Matrix& out = c.paged ? paged.out.values : varlen.out.values;
    std::vector<float> values(capacity * width);
    if (c.out == DType::kF32) {
      CUDA(cudaMemcpy(values.data(), out.data, out_bytes, cudaMemcpyDeviceToHost));
    } else {
      std::vector<bf16> raw(values.size());
      CUDA(cudaMemcpy(raw.data(), out.data, out_bytes, cudaMemcpyDeviceToHost));
      for (size_t i = 0; i < raw.size(); ++i) values[i] = to_float(raw[i]);
    }
    return values;
  }
};

// Returns the worst error as a share of its limit; prints and returns infinity when something is wrong.
double verify(Device& device, const Case& c, uint32_t seed, bool print) {
  Setup setup(device, c, seed);
  const int64_t width = int64_t{c.heads} * c.head_dim;
  const size_t count = static_cast<size_t>(setup.tokens) * width;
  float* truth = device.allocate<float>(count);
  float* limit = device.allocate<float>(count);
  CUDA(cudaMemset(truth, 0xff, count * sizeof(float)));
  int64_t work = 0;
  for (size_t s = 0; s < c.queries.size(); ++s)
    work += int64_t{c.queries[s]} * (c.paged ? c.contexts[s] : c.queries[s]);
  TruthArgs args{.paged = c.paged,
                 .f32 = c.dtype == DType::kF32,
                 .num_seqs = static_cast<int32_t>(c.queries.size()),
                 .num_heads = c.heads,
                 .num_kv_heads = c.kv_heads,
                 .head_dim = c.head_dim,
                 .scale = c.paged ? setup.paged.scale : setup.varlen.scale,
                 .every = static_cast<int32_t>(1 + work / 500000),
                 .out = truth,
                 .limit = limit};
  if (c.paged) {
    args.q = setup.paged.q.data;
    args.q_stride = width;
    args.kv = setup.kv[0];
    args.cu_seqlens = setup.paged.cu_seqlens;
    args.context_lens = setup.paged.context_lens;
    args.block_table = setup.paged.block_table;
    args.max_blocks = setup.paged.max_blocks;
  } else {
    const auto bytes = static_cast<int64_t>(dtype_bytes(c.dtype));
    args.q = setup.qkv[0];
    args.q_stride = args.kv_stride = 3 * width;
    args.k = static_cast<const std::byte*>(setup.qkv[0]) + width * bytes;
    args.v = static_cast<const std::byte*>(setup.qkv[0]) + 2 * width * bytes;
    args.cu_seqlens = setup.varlen.cu_seqlens;
  }
  int32_t longest = 0;
  for (const int32_t n : c.paged ? c.contexts : c.queries) longest = std::max(longest, n);
  if (setup.tokens > 0) {
    if (longest > kTruthKeys) {
      std::printf("no room for %d scores\n", longest);
      std::exit(1);
    }
    CUDA(cudaFuncSetAttribute(truth_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTruthKeys * 8));
    truth_kernel<<<dim3(setup.tokens, c.heads), kTruthThreads, (longest + 1) * 8>>>(args);
    CUDA(cudaGetLastError());
  }
  std::vector<float> expected(count), allowed(count);
  CUDA(cudaMemcpy(expected.data(), truth, count * sizeof(float), cudaMemcpyDeviceToHost));
  CUDA(cudaMemcpy(allowed.data(), limit, count * sizeof(float), cudaMemcpyDeviceToHost));

  void* out = c.paged ? setup.paged.out.values.data : setup.varlen.out.values.data;
  std::vector<float> first;
  double worst = 0;
  for (int run = 0; run < 2; ++run) {
    CUDA(cudaMemset(out, 0xff, setup.out_bytes));
    CUDA(cudaDeviceSynchronize());
    setup.run(0, run == 1);
    CUDA(cudaGetLastError());
    CUDA(cudaDeviceSynchronize());
    const std::vector<float> actual = setup.output();
    if (run == 1 && std::memcmp(first.data(), actual.data(), actual.size() * sizeof(float)) != 0) {
      std::printf("WRONG %s: two runs differ\n", describe(c).c_str());
      return INFINITY;
    }
    first = actual;
    for (size_t i = count; i < actual.size(); ++i) {
      if (!std::isnan(actual[i])) {
        std::printf("WRONG %s: padding row %zu written\n", describe(c).c_str(), i / width);
        return INFINITY;
      }
    }
    size_t compared = 0;
    for (size_t i = 0; i < count; ++i) {
      if (std::isnan(expected[i])) {
        if (std::isnan(actual[i])) {
          std::printf("WRONG %s: row %zu not written\n", describe(c).c_str(), i / width);
          return INFINITY;
        }
        continue;
      }
      ++compared;
      const double step = std::fabs(expected[i]) * (c.out == DType::kBF16 ? 0x1p-8 : 0x1p-23) + 1e-37;
      const double share = std::fabs(double{actual[i]} - expected[i]) / (allowed[i] + step);
      if (!(share <= 1)) {
        std::printf("WRONG %s seed %u: row %zu head %zu column %zu: %g instead of %g, %.2f of the limit\n",
                    describe(c).c_str(), seed, i / width, i % width / c.head_dim, i % c.head_dim, actual[i],
                    expected[i], share);
        return INFINITY;
      }
      worst = std::max(worst, share);
    }
    if (compared == 0 && count > 0) return INFINITY;
  }
  if (c.paged) {
    std::vector<int32_t> counters(cuda::fast_attention_counters(device.sms));
    CUDA(cudaMemcpy(counters.data(), device.counters, counters.size() * 4, cudaMemcpyDeviceToHost));
    if (std::ranges::any_of(counters, [](int32_t x) { return x != 0; })) {
      std::printf("WRONG %s: a counter is not zero\n", describe(c).c_str());
      return INFINITY;
    }
  }
  if (print) std::printf("%.3f of the limit: %s\n", worst, describe(c).c_str());
  device.release();
  return worst;
}

std::vector<int32_t> repeat(int32_t count, int32_t value) {
  return std::vector<int32_t>(count, value);
}

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto bf = DType::kBF16, f32 = DType::kF32;
  // Varlen.
  for (const DType out : {bf, f32}) {
    all.push_back({.queries = {1, 23, 0, 63, 64, 65, 127, 128, 129, 175, 176, 177, 351, 352, 353},
                   .heads = 3,
                   .kv_heads = 3,
                   .out = out});
  }
  for (const int32_t n : {1, 64, 576, 1296, 1600}) all.push_back({.queries = {n}});
  all.push_back({.queries = {576, 1296, 100, 2, 576}, .heads = 12, .kv_heads = 12});
  all.push_back({.queries = {900, 300}, .heads = 2, .kv_heads = 2, .size = 6});
  all.push_back({.queries = {900, 300}, .heads = 2, .kv_heads = 2, .size = 0.01f});
  std::vector<int32_t> many;
  for (int32_t i = 0; i < 70; ++i) many.push_back(i * 37 % 211);
  all.push_back({.queries = many, .heads = 2, .kv_heads = 2});
  for (const int32_t dim : {8, 16, 24, 32, 64, 80, 96, 112, 136, 160, 192, 256}) {
    all.push_back(
        {.queries = {1, 31, 33, 129, 0, 64}, .heads = 3, .kv_heads = 3, .head_dim = dim, .out = dim % 16 ? f32 : bf});
  }
  // Paged: decode.
  for (const int32_t dim : {64, 128}) {
    for (const auto& [heads, kv_heads] : {std::pair{32, 2}, {16, 1}, {4, 4}, {3, 1}, {25, 1}, {64, 1}}) {
      all.push_back({.paged = true,
                     .queries = repeat(8, 1),
                     .contexts = {1, 2, 31, 63, 64, 65, 127, 200},
                     .heads = heads,
                     .kv_heads = kv_heads,
                     .head_dim = dim,
                     .out = heads == 3 ? f32 : bf,
                     .extra = 0,
                     .seq_extra = 0});
    }
  }
  const auto decode = [&](std::vector<int32_t> contexts, float size = 1) {
    const auto seqs = static_cast<int32_t>(contexts.size());
    all.push_back({.paged = true,
                   .queries = repeat(seqs, 1),
                   .contexts = contexts,
                   .heads = 32,
                   .kv_heads = 2,
                   .size = size,
                   .extra = 2,
                   .seq_extra = 2});
  };
  decode({512});
  decode({513});
  decode({2755});
  decode({16384});
  decode({20000, 1, 0, 64, 700});
  decode(repeat(64, 512));
  decode(repeat(130, 100));
  std::vector<int32_t> ragged;
  for (int32_t i = 0; i < 64; ++i) ragged.push_back(1 + i * 997 % 4099);
  decode(ragged);
  decode({3000, 70}, 6);
  decode({3000, 70}, 0.01f);
  all.push_back({.paged = true,
                 .queries = {1, 4, 0, 16, 2},
                 .contexts = {700, 900, 0, 16, 1},
                 .heads = 32,
                 .kv_heads = 2,
                 .extra = 0,
                 .seq_extra = 20});
  // Paged: prefill, chunks, prefix hits, mixed with decode.
  const auto paged = [&](std::vector<int32_t> queries, std::vector<int32_t> contexts, int32_t heads, int32_t kv_heads,
                         DType out = DType::kBF16, float size = 1) {
    all.push_back({.paged = true,
                   .queries = queries,
                   .contexts = contexts,
                   .heads = heads,
                   .kv_heads = kv_heads,
                   .out = out,
                   .size = size});
  };
  paged({512}, {512}, 32, 2);
  paged({2755}, {2755}, 32, 2);
  paged({64}, {2755}, 32, 2);
  paged({17}, {17}, 32, 2, f32);
  paged({18}, {129}, 32, 2);
  paged({1, 0, 37, 5, 1, 200, 129}, {200, 0, 37, 133, 1, 1000, 257}, 32, 2);
  paged({1, 25, 20}, {0, 3, 21}, 32, 2);  // queries that see nothing
  paged({300, 70}, {1100, 70}, 4, 4);
  paged({300, 70}, {1100, 70}, 8, 2, f32);
  paged({300, 70}, {1100, 70}, 64, 1);
  paged({300, 70}, {1100, 70}, 6, 2);
  paged({200, 40}, {500, 64}, 32, 2, bf, 6);
  paged({200, 40}, {500, 64}, 32, 2, bf, 0.01f);
  for (const int32_t dim : {8, 24, 32, 64, 80, 112, 256}) {
    for (const auto& [heads, kv_heads] : {std::pair{2, 2}, {13, 1}, {8, 2}}) {
      all.push_back({.paged = true,
                     .queries = {1, 3, 70, 20},
                     .contexts = {45, 66, 200, 20},
                     .heads = heads,
                     .kv_heads = kv_heads,
                     .head_dim = dim,
                     .out = dim == 32 ? bf : f32});
    }
  }
  return all;
}

bool verify_all(Device& device, bool small) {
  double worst = 0;
  int wrong = 0, count = 0;
  uint32_t seed = 1;
  for (const Case& c : cases()) {
    ++seed;
    const int32_t tokens = std::accumulate(c.queries.begin(), c.queries.end(), 0);
    if (small && (tokens > 1000 || (c.paged && *std::ranges::max_element(c.contexts) > 3000))) continue;
    const double share = verify(device, c, seed, false);
    device.release();
    wrong += std::isinf(share) ? 1 : 0;
    worst = std::isinf(share) ? worst : std::max(worst, share);
    ++count;
  }
  std::printf("verified %d cases, %d wrong; worst of the others %.3f of its limit\n", count, wrong, worst);
  return wrong == 0;
}

// --- Times.

double flops(const Case& c) {
  double pairs = 0;
  for (size_t s = 0; s < c.queries.size(); ++s) {
    const double n = c.queries[s];
    pairs += c.paged ? n * (c.contexts[s] - (n - 1) / 2) : n * n;
  }
  return 4.0 * c.head_dim * c.heads * pairs;
}

void time_products(Device& device, const Case& c) {
  const double share = verify(device, c, 5, false);
  if (std::isinf(share)) std::exit(1);
  Setup setup(device, c, 5);
  const double cold = device.seconds_cold([&] { setup.run(0, false); });
  const double warm = device.seconds_warm(24, [&](int i) { setup.run(i % c.layers, true); });
  const double work = flops(c);
  std::printf("%-60s %9.1f us cold %9.1f us warm %6.0f TFLOP/s %5.1f %% of products\n", describe(c).c_str(), cold * 1e6,
              warm * 1e6, work / warm / 1e12, 100 * work / warm / device.product_rate);
  device.release();
}

void time_decode(Device& device, const Case& c) {
  const double share = verify(device, c, 5, false);
  if (std::isinf(share)) std::exit(1);
  Setup setup(device, c, 5);
  const double cold = device.seconds_cold([&] { setup.run(0, false); });
  const double warm = device.seconds_warm(40, [&](int i) { setup.run(i % c.layers, true); });
  double bytes = 0;
  for (const int32_t context : c.contexts) bytes += 4.0 * context * c.kv_heads * c.head_dim;
  std::printf("%-60s %9.2f us cold %9.2f us warm %6.0f GB/s %5.1f %% of copy\n", describe(c).c_str(), cold * 1e6,
              warm * 1e6, bytes / warm / 1e9, 100 * bytes / warm / device.copy_rate);
  device.release();
}

int main_(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const auto wanted = [&](const char* name) {
    bool found = argc == 1;
    for (int i = 1; i < argc; ++i) found = found || std::strcmp(argv[i], name) == 0;
    return found;
  };
  Device device;
  cudaDeviceProp properties{};
  CUDA(cudaGetDeviceProperties(&properties, 0));
  device.sms = properties.multiProcessorCount;
  device.capability = properties.major * 10 + properties.minor;
  CUDA(cudaStreamCreateWithFlags(&device.stream, cudaStreamNonBlocking));
  CUDA(cudaMalloc(&device.flush, Device::kFlush));
  CUDA(cudaMalloc(&device.counters, cuda::fast_attention_counters(device.sms) * 4));
  CUDA(cudaMemset(device.counters, 0, cuda::fast_attention_counters(device.sms) * 4));
  bool good = true;
  if (wanted("verify") || wanted("verify-small")) good = verify_all(device, !wanted("verify"));
  if (wanted("varlen") || wanted("prefill") || wanted("decode")) measure_ceilings(device);
  if (wanted("varlen")) {
    for (const int32_t n : {576, 1296, 1600, 6400, 10336, 10764})
      time_products(device, {.queries = {n}, .layers = 2, .extra = 0, .seq_extra = 0});
    time_products(device, {.queries = {576, 1600, 900, 6400, 1288}, .layers = 2, .extra = 0, .seq_extra = 0});
    time_products(device, {.queries = {6400}, .heads = 16, .kv_heads = 16, .head_dim = 64, .layers = 2});
  }
  if (wanted("prefill")) {
    const auto prefill = [&](std::vector<int32_t> queries, std::vector<int32_t> contexts) {
      time_products(device, {.paged = true,
                             .queries = std::move(queries),
                             .contexts = std::move(contexts),
                             .heads = 32,
                             .kv_heads = 2,
                             .layers = 8,
                             .extra = 0,
                             .seq_extra = 0});
    };
    prefill({512}, {512});
    prefill({2048}, {2048});
    prefill({2755}, {2755});
    prefill({8192}, {8192});
    for (const int32_t queries : {8, 16, 32, 64}) {
      prefill({queries}, {2755});
      time_products(device, {.paged = true,
                             .queries = {queries},
                             .contexts = {2755},
                             .heads = 32,
                             .kv_heads = 2,
                             .layers = 8,
                             .extra = 0,
                             .seq_extra = queries});
    }
    prefill({512}, {8192});
    prefill(repeat(8, 512), repeat(8, 512));
  }
  if (wanted("decode")) {
    const auto decode = [&](int32_t seqs, int32_t context, int32_t layers) {
      time_decode(device, {.paged = true,
                           .queries = repeat(seqs, 1),
                           .contexts = repeat(seqs, context),
                           .heads = 32,
                           .kv_heads = 2,
                           .layers = layers,
                           .extra = 0,
                           .seq_extra = 0});
    };
    for (const int32_t context : {64, 512, 2048, 2755, 4096, 8192, 24000}) decode(1, context, 40);
    for (const int32_t context : {512, 2755, 8192}) decode(8, context, 20);
    for (const int32_t context : {512, 2755}) decode(32, context, 10);
    for (const int32_t context : {512, 2755}) decode(64, context, 10);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace glimpse::bench

int main(int argc, char** argv) {
  return glimpse::bench::main_(argc, argv);
}
