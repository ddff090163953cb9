// Attention of the CPU back end: the vision tower's and prefill's as a share of the rate of vdpbf16ps, decode's as a
// share of the read bandwidth, both measured in the same run. Each shape is verified against the reference on a few
// queries first.
//
//   attention_bench [--threads N] [--busy] [--isa avx2|avx512|avx512bf16] [vision] [prefill] [decode]      all of them
//   without names
//
// --busy: one thread and its processor time, for a machine that others use too.

#include <immintrin.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/isa.h"
#include "kernels/ops.h"

namespace glimpse {
namespace {

struct Bench {
  int threads = 2;
  int isa = -1;  // the best
  bool busy = false;
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Stream> stream;
  double peak = 0;  // bf16 FLOP/s
  std::vector<Buffer> buffers;

  double now() const {
    timespec time{};
    clock_gettime(busy ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  template <typename Work>
  double median_seconds(int repeats, const Work& work) const {
    work();
    std::vector<double> seconds;
    for (int i = 0; i < repeats; ++i) {
      const double begin = now();
      work();
      seconds.push_back(now() - begin);
    }
    std::ranges::sort(seconds);
    return seconds[seconds.size() / 2];
  }
  template <typename T>
  T* allocate(size_t count) {
    buffers.push_back(*backend->allocate(count * sizeof(T), MemoryKind::kDevice));
    return buffers.back().as<T>();
  }
  template <typename T>
  T* upload(const std::vector<T>& values) {
    T* device = allocate<T>(values.size());
    std::copy(values.begin(), values.end(), device);
    return device;
  }
  Rows rows(int32_t count) { return {.count = upload(std::vector<int32_t>{count}), .capacity = count}; }
  template <typename Work>
  void on_threads(const Work& work) const {
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t) others.emplace_back(work, t);
    work(0);
    for (auto& thread : others) thread.join();
  }
};

// 24 independent accumulators.
[[gnu::target("avx512f,avx512bf16")]] void peak_loop(int64_t steps) {
  __m512 acc[24];
  for (auto& a : acc) a = _mm512_setzero_ps();
  __m512 x = _mm512_setzero_ps();
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) asm volatile("vdpbf16ps %1, %1, %0" : "+v"(a) : "v"(x));
  }
}

void measure_peak(Bench& bench) {
  if (!__builtin_cpu_supports("avx512bf16")) return;
  constexpr int64_t kSteps = 2'000'000;
  const double seconds = bench.median_seconds(5, [&] { bench.on_threads([](int) { peak_loop(kSteps); }); });
  bench.peak = bench.threads * 24.0 * 64 * kSteps / seconds;
  std::printf("vdpbf16ps peak on %d threads: %.0f GFLOP/s\n", bench.threads, bench.peak / 1e9);
}

// Bytes a second of reading `bytes` of memory on all threads.
double read_bandwidth(const Bench& bench, const std::byte* data, size_t bytes) {
  const double begin = bench.now();
  std::atomic<long long> sink{0};
  bench.on_threads([&](int t) {
    const size_t share = bytes / bench.threads / 64 * 64;
    const auto* p = reinterpret_cast<const long long*>(data + t * share);
    long long sum[8] = {};
    for (size_t i = 0; i < share / 8; i += 8) {
      for (int j = 0; j < 8; ++j) sum[j] += p[i + j];
    }
    for (const long long x : sum) sink += x;
  });
  return static_cast<double>(bytes) / (bench.now() - begin);
}

std::vector<bf16> random_bf16(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> pool(65537);
  for (float& x : pool) x = normal(random);
  std::vector<bf16> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = to_bf16(pool[(i * 7 + i / 65537) % pool.size()]);
  return values;
}

// |actual - expected| of one head's output against a float64 softmax over rows of k and v.
void verify(const float* actual, const bf16* q, const bf16* k, const bf16* v, int64_t tokens, int64_t stride, int hd) {
  std::vector<double> p(tokens), out(hd);
  double max = -INFINITY, sum = 0, worst = 0, size = 0;
  for (int64_t j = 0; j < tokens; ++j) {
    for (int d = 0; d < hd; ++d) p[j] += double{to_float(q[d])} * to_float(k[j * stride + d]);
    max = std::max(max, p[j] /= std::sqrt(hd));
  }
  for (double& x : p) sum += x = std::exp(x - max);
  for (int64_t j = 0; j < tokens; ++j) {
    for (int d = 0; d < hd; ++d) out[d] += p[j] / sum * to_float(v[j * stride + d]);
  }
  for (int d = 0; d < hd; ++d) {
    worst = std::max(worst, std::fabs(actual[d] - out[d]));
    size = std::max(size, std::fabs(out[d]));
  }
  if (!(worst < 0.01 * size + 1e-3)) {
    std::printf("WRONG: off by %g of %g\n", worst, size);
    std::exit(1);
  }
}

void vision(Bench& bench, int32_t patches, int32_t heads, int32_t hd, int repeats) {
  bench.buffers.clear();
  const int64_t width = int64_t{heads} * hd;
  bf16* qkv = bench.upload(random_bf16(static_cast<size_t>(patches * 3 * width), 1));
  float* out = bench.allocate<float>(static_cast<size_t>(patches * width));
  AttentionVarlenArgs args{
      .tokens = bench.rows(patches),
      .segments = bench.rows(1),
      .cu_seqlens = bench.upload(std::vector<int32_t>{0, patches}),
      .num_heads = heads,
      .head_dim = hd,
      .scale = 1.0f / std::sqrt(static_cast<float>(hd)),
      .qkv = {.data = qkv, .dtype = DType::kBF16, .rows = patches, .cols = 3 * width, .stride = 3 * width},
      .out = {.values = {.data = out, .dtype = DType::kF32, .rows = patches, .cols = width, .stride = width}}};
  (void)bench.stream->reserve_workspace(bench.backend->ops().attention_varlen_workspace(args));
  const double seconds = bench.median_seconds(repeats, [&] { attention_varlen(args, *bench.stream); });
  for (const int64_t t : {int64_t{0}, int64_t{patches / 2}, int64_t{patches - 1}}) {
    const int64_t column = t % heads * hd;
    verify(out + t * width + column, qkv + t * 3 * width + column, qkv + width + column, qkv + 2 * width + column,
           patches, 3 * width, hd);
  }
  const double flops = attention_cost(patches, patches, heads, heads, hd, DType::kBF16).flops;
  std::printf("vision  %6d patches, %2d heads x %3d: %9.3f ms, %6.0f GFLOP/s, %5.1f %% of its rate\n", patches, heads,
              hd, seconds * 1e3, flops / seconds / 1e9, 100 * flops / seconds / bench.peak);
}

struct Paged {
  std::unique_ptr<KvCache> kv;
  AttentionPagedArgs args;
};

// A cache of random numbers (any bits of bfloat16 between 2^-7 and 2^7), blocks in random order.
Paged make_paged(Bench& bench, int32_t seqs, int32_t queries, int32_t context, int32_t heads, int32_t kv_heads,
                 int32_t hd) {
  bench.buffers.clear();
  Paged p;
  auto probe = *bench.backend->make_kv({.num_layers = 1, .num_kv_heads = 1, .head_dim = 2, .num_blocks = 1});
  const int32_t per_seq = (context + probe->block_size - 1) / probe->block_size;
  p.kv = *bench.backend->make_kv(
      {.num_layers = 1, .num_kv_heads = kv_heads, .head_dim = hd, .num_blocks = seqs * per_seq});
  const auto& cache = static_cast<const cpu::CpuKv&>(*p.kv);
  const auto values = random_bf16(cache.buffer.bytes() / 2, 3);
  std::memcpy(cache.buffer.data(), values.data(), cache.buffer.bytes());
  std::vector<int32_t> table(static_cast<size_t>(seqs) * per_seq), cu = {0};
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
  std::shuffle(table.begin(), table.end(), std::mt19937(5));
  for (int32_t s = 0; s < seqs; ++s) cu.push_back(cu.back() + queries);
  const int32_t tokens = cu.back();
  const int64_t width = int64_t{heads} * hd;
  p.args = {.tokens = bench.rows(tokens),
            .seqs = bench.rows(seqs),
            .cu_seqlens = bench.upload(cu),
            .context_lens = bench.upload(std::vector<int32_t>(seqs, context)),
            .block_table = bench.upload(table),
            .max_blocks = per_seq,
            .kv = p.kv.get(),
            .num_heads = heads,
            .scale = 1.0f / std::sqrt(static_cast<float>(hd)),
            .q = {.data = bench.upload(random_bf16(static_cast<size_t>(tokens * width), 4)),
                  .dtype = DType::kBF16,
                  .rows = tokens,
                  .cols = width,
                  .stride = width}};
  p.args.out.values = {.data = bench.allocate<float>(static_cast<size_t>(tokens * width)),
                       .dtype = DType::kF32,
                       .rows = tokens,
                       .cols = width,
                       .stride = width};
  (void)bench.stream->reserve_workspace(bench.backend->ops().attention_paged_workspace(p.args));
  return p;
}

// The last query of sequence 0, head 0, against keys and values read back through kv_read.
void verify_paged(Bench& bench, const Paged& p, int32_t queries, int32_t context, int32_t kv_heads, int32_t hd) {
  std::vector<bf16> k, v;
  std::vector<float> key(static_cast<size_t>(kv_heads) * hd), value(key.size());
  for (int32_t j = 0; j < context; ++j) {
    const int32_t slot = p.args.block_table[j / p.kv->block_size] * p.kv->block_size + j % p.kv->block_size;
    bench.backend->ops().kv_read(*p.kv, 0, slot, key.data(), value.data(), *bench.stream);
    for (int32_t d = 0; d < hd; ++d) k.push_back(to_bf16(key[d]));
    for (int32_t d = 0; d < hd; ++d) v.push_back(to_bf16(value[d]));
  }
  verify(p.args.out.values.row<float>(queries - 1), p.args.q.row<bf16>(queries - 1), k.data(), v.data(), context, hd,
         hd);
}

void prefill(Bench& bench, int32_t queries, int32_t context, int32_t heads, int32_t kv_heads, int32_t hd) {
  const Paged p = make_paged(bench, 1, queries, context, heads, kv_heads, hd);
  const double seconds = bench.median_seconds(5, [&] { attention_paged(p.args, *bench.stream); });
  verify_paged(bench, p, queries, context, kv_heads, hd);
  const double flops = attention_cost(queries, 1, heads, kv_heads, hd, DType::kBF16).flops *
                       (context - (queries - 1) / 2.0);  // the causal half
  std::printf("prefill %5d queries of %5d, %2d/%2d x %3d: %9.3f ms, %6.0f GFLOP/s, %5.1f %% of its rate\n", queries,
              context, heads, kv_heads, hd, seconds * 1e3, flops / seconds / 1e9, 100 * flops / seconds / bench.peak);
}

void decode(Bench& bench, int32_t seqs, int32_t context, int32_t heads, int32_t kv_heads, int32_t hd) {
  const Paged p = make_paged(bench, seqs, 1, context, heads, kv_heads, hd);
  const auto& cache = static_cast<const cpu::CpuKv&>(*p.kv);
  const double bytes = static_cast<double>(cache.buffer.bytes());
  std::vector<double> shares;
  double seconds = 0;
  for (int i = 0; i < 9; ++i) {
    const double before = read_bandwidth(bench, cache.buffer.as<std::byte>(), cache.buffer.bytes());
    const double begin = bench.now();
    attention_paged(p.args, *bench.stream);
    seconds = bench.now() - begin;
    const double after = read_bandwidth(bench, cache.buffer.as<std::byte>(), cache.buffer.bytes());
    shares.push_back(bytes / seconds / ((before + after) / 2));
  }
  verify_paged(bench, p, 1, context, kv_heads, hd);
  std::ranges::sort(shares);
  std::printf("decode  %3d x %6d tokens (%6.1f MB), %2d/%2d x %3d: %8.3f ms, %5.1f GB/s, %5.1f %% of read bandwidth\n",
              seqs, context, bytes / 1e6, heads, kv_heads, hd, seconds * 1e3, bytes / seconds / 1e9,
              100 * shares[shares.size() / 2]);
}

}  // namespace
}  // namespace glimpse

int main(int argc, char** argv) {
  using namespace glimpse;
  Bench bench;
  std::vector<std::string> names;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--busy") == 0) {
      bench.busy = true;
      bench.threads = 1;
    } else if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      bench.threads = std::atoi(argv[++i]);
    } else if (std::strcmp(argv[i], "--isa") == 0 && i + 1 < argc) {
      ++i;
      for (int isa = 0; isa <= cpu::detect_isa(); ++isa) {
        if (std::strcmp(argv[i], cpu::isa_name(static_cast<CpuIsa>(isa))) == 0) bench.isa = isa;
      }
    } else {
      names.emplace_back(argv[i]);
    }
  }
  const auto wanted = [&](const char* name) { return names.empty() || std::ranges::find(names, name) != names.end(); };
  bench.backend = *make_cpu_backend({.num_threads = bench.threads, .isa = bench.isa});
  bench.stream = bench.backend->make_stream();
  measure_peak(bench);
  if (wanted("vision")) {
    vision(bench, 256, 4, 64, 21);
    vision(bench, 1600, 12, 128, 5);
    vision(bench, 6400, 12, 128, 3);
  }
  if (wanted("prefill")) {
    prefill(bench, 512, 512, 32, 2, 128);
    prefill(bench, 512, 4096, 32, 2, 128);
    prefill(bench, 512, 512, 16, 16, 64);
  }
  if (wanted("decode")) {
    decode(bench, 1, 131072, 32, 2, 128);
    decode(bench, 64, 2048, 32, 2, 128);
    decode(bench, 16, 4096, 8, 8, 128);
    decode(bench, 1, 256, 6, 2, 64);
  }
  return 0;
}
