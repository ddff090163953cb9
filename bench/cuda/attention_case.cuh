#pragma once

// A case of attention on the device, with everything a kernel may not touch filled with NaN; timing.

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/cuda/device_bench.cuh"
#include "kernels/cuda/attention_fast.h"

namespace glimpse::bench {

#define CUDA(call) BENCH_CHECK(call)

// Normal values times `size`; with `outliers`, one in 64 is eight times as large.
template <typename T>
__global__ void fill_normal(T* p, int64_t count, uint32_t seed, float size, bool outliers) {
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x) {
    const float x = ::bench::random_value(static_cast<uint64_t>(i), seed, size);
    const bool large = outliers && ::bench::hash(static_cast<uint32_t>(i) + 0x68bc21ebu) % 64 == 0;
    p[i] = static_cast<T>(large ? 8 * x : x);
  }
}

struct Device {
  int sms = 0, capability = 0;
  cudaStream_t stream = nullptr;
  std::vector<void*> owned;
  void* flush = nullptr;  // kFlush bytes
  static constexpr size_t kFlush = size_t{256} << 20;
  int32_t* counters = nullptr;
  double read_rate = 0, product_rate = 0;  // of this run

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
    return ::bench::graph_us(
               stream,
               [&](cudaStream_t) {
                 for (int i = 0; i < calls; ++i) work(i);
               },
               9) *
           1e-6 / calls;
  }
};

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

inline std::string describe(const Case& c) {
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

}  // namespace glimpse::bench
