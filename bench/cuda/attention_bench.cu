// Attention on the device: every launch shape is verified against float64 first (random inputs, large magnitudes,
// ragged lengths, one past a block, NaN in whatever nobody may read, poisoned outputs), then timed.
//
//   cuda_attention_bench [verify] [varlen] [prefill] [decode]      all of them without names; exit 1 when one is wrong
//   cuda_attention_bench verify-small | few                        for compute-sanitizer: memcheck | racecheck
//
// Times are medians. cold: after 256 MB of other traffic, one launch between two events; warm: launches back to back in
// a graph, over several layers' caches, as in a model. Shares are of what the same run measured: warpgroup products
// from shared memory, and reading memory.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "bench/cuda/attention_case.cuh"
#include "bench/cuda/attention_truth.cuh"
#include "kernels/cuda/hopper.cuh"

namespace glimpse::bench {
namespace {

// Products of operands in shared memory, as fast as they can be started.
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
  device.read_rate = ::bench::read_bandwidth(device.stream);
  auto* random = device.allocate<__nv_bfloat16>(64 * 1024 / 2);
  auto* sink = device.allocate<float>(1);
  fill_normal<<<64, 256, 0, device.stream>>>(random, 64 * 1024 / 2, 1, 1.0f, false);
  CUDA(cudaFuncSetAttribute(product_rate_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 66 * 1024));
  const int rounds = 20000;
  const double seconds = device.seconds_cold([&] {
    product_rate_kernel<<<device.sms, 384, 66 * 1024, device.stream>>>(reinterpret_cast<uint32_t*>(random), sink,
                                                                       rounds);
  });
  device.product_rate = 2.0 * 64 * 128 * 16 * 8 * 3 * rounds * device.sms / seconds;
  cudaDeviceProp properties{};
  CUDA(cudaGetDeviceProperties(&properties, 0));
  std::printf("%s, %d multiprocessors; reading %.2f TB/s; bf16 products %.0f TFLOP/s\n", properties.name, device.sms,
              device.read_rate / 1e12, device.product_rate / 1e12);
  device.release();
}

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

// Every kernel once on a few small cases, nothing compared: compute-sanitizer's racecheck is too slow for more.
void run_few(Device& device) {
  const auto run = [&](const Case& c) {
    Setup setup(device, c, 1);
    setup.run(0, true);
    CUDA(cudaDeviceSynchronize());
    device.release();
  };
  run({.queries = {177, 30}, .heads = 1, .kv_heads = 1});
  run({.queries = {70}, .heads = 1, .kv_heads = 1, .head_dim = 80});
  run({.paged = true, .queries = {40, 1}, .contexts = {300, 200}, .heads = 32, .kv_heads = 2});
  for (const int32_t seqs : {1, 20, 40, 140}) {  // clusters of 8, 4, 2 and 1
    run({.paged = true,
         .queries = repeat(seqs, 1),
         .contexts = repeat(seqs, 200),
         .heads = 32,
         .kv_heads = 2,
         .extra = 0,
         .seq_extra = 0});
  }
  run({.paged = true, .queries = {1}, .contexts = {9000}, .heads = 32, .kv_heads = 2, .extra = 0, .seq_extra = 0});
  std::printf("ran\n");
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
  std::printf("%-60s %9.2f us cold %9.2f us warm %6.0f GB/s %5.1f %% of reading\n", describe(c).c_str(), cold * 1e6,
              warm * 1e6, bytes / warm / 1e9, 100 * bytes / warm / device.read_rate);
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
  if (argc > 1 && wanted("few")) run_few(device);
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
