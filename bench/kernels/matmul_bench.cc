// Products on packed weights: rates of tall products beside oneDNN in turns, decode products as a share of the read
// bandwidth measured right before and after, the small shapes of glimpse-mini, and packing.
//
//   matmul_bench [--busy] [--isa avx2|avx512|avx512bf16] [peak] [tall] [decode] [mini] [pack]    all without names
//
// --isa: not the best of this processor.
// --busy: one thread and its processor time, for a machine that others use too (run with OMP_NUM_THREADS=1).

#include <immintrin.h>
#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/support/compute_peak.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/pack.h"
#ifdef GLIMPSE_ONEDNN
#include "bench/kernels/matmul_onednn.h"
#endif

namespace glimpse::cpu {
namespace {

// Wall time, or (for a busy machine, with one thread) the calling thread's processor time.
bool use_cpu_time = false;  // NOLINT: a command-line flag

int isa_wanted = detect_isa();  // NOLINT: a command-line flag

double now() {
  timespec time{};
  clock_gettime(use_cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& work) {
  const double begin = now();
  work();
  return now() - begin;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

// The median, but on a busy machine the least: of many short samples some are hardly disturbed.
double typical(const std::vector<double>& values) {
  return use_cpu_time ? std::ranges::min(values) : median(values);
}

// Memory of many layers, more than any cache.
class Memory {
 public:
  explicit Memory(size_t bytes) : bytes_(bytes) {
    data_ = static_cast<std::byte*>(std::aligned_alloc(size_t{2} << 20, bytes));
    madvise(data_, bytes, MADV_HUGEPAGE);
    std::memset(data_, 1, bytes);
  }
  ~Memory() { std::free(data_); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  const std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* data_;
  size_t bytes_;
};

[[gnu::target("avx512f")]] int64_t sum_bytes(const std::byte* data, size_t bytes) {
  constexpr int kStreams = 8;
  const size_t part = bytes / kStreams;
  __m512i sum[kStreams];
  for (auto& s : sum) s = _mm512_setzero_si512();
  for (size_t i = 0; i + 64 <= part; i += 64) {
#pragma GCC unroll 8
    for (int j = 0; j < kStreams; ++j) {
      sum[j] = _mm512_add_epi64(sum[j], _mm512_loadu_si512(data + j * part + i));
    }
  }
  for (const auto& s : sum) sum[0] = _mm512_add_epi64(sum[0], s);
  return _mm512_reduce_add_epi64(sum[0]);
}

double read_bandwidth(Pool& pool, const Memory& memory) {
  std::atomic<int64_t> next{0};
  std::atomic<int64_t> sink{0};
  constexpr size_t kPiece = size_t{8} * 64 * 8191;  // streams that do not meet in the same sets of the caches
  const auto pieces = static_cast<int64_t>(memory.bytes() / kPiece);
  const double seconds = seconds_of([&] {
    pool.run([&](int) {
      for (int64_t i; (i = next.fetch_add(1)) < pieces;) sink += sum_bytes(memory.data() + i * kPiece, kPiece);
    });
  });
  return static_cast<double>(memory.bytes()) / seconds;
}

struct Bench {
  int num_threads = use_cpu_time ? 1 : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  Pool pool{num_threads};
  std::vector<std::byte> workspace = std::vector<std::byte>((size_t{64} << 20) + 64);
  Context context{.pool = pool,
                  .isa = static_cast<CpuIsa>(isa_wanted),
                  .workspace = workspace.data() + (64 - reinterpret_cast<uintptr_t>(workspace.data()) % 64),
                  .workspace_bytes = workspace.size() - 64};

  std::unique_ptr<PackedLinear> pack(int64_t n, int64_t k, WeightFormat format,
                                     LinearConsumer consumer = LinearConsumer::kPlain, int32_t group = 128) {
    const LinearSpec spec{
        .name = "bench", .rows = n, .cols = k, .consumer = consumer, .format = format, .group = group, .bias = {}};
    const auto read = [&](int64_t first, int64_t count, float* dst) {
      auto seed = static_cast<uint32_t>(first) * 2654435761u + 1;
      for (int64_t i = 0; i < count * k; ++i) {
        seed = seed * 1664525u + 1013904223u;
        dst[i] = static_cast<float>(static_cast<int32_t>(seed)) * 0x1p-36f;
      }
    };
    return *pack_linear(spec, read, context);
  }
};

// Rows of x, or of y, in one of the three formats.
struct Rows {
  Activation view;
  std::vector<std::byte> data;
  std::vector<float> scales;
  std::vector<int32_t> sums;

  Rows(DType dtype, int64_t rows, int64_t cols, int32_t group, CpuIsa isa) {
    data.resize(rows * cols * dtype_bytes(dtype) + 64);
    auto* aligned = data.data() + (64 - reinterpret_cast<uintptr_t>(data.data()) % 64) % 64;
    view.values = {aligned, dtype, rows, cols, cols};
    if (dtype == DType::kI8) {
      view.group = group;
      scales.resize(rows * view.num_groups());
      sums.resize(rows * view.num_groups());
      view.scales = scales.data();
      view.sums = sums.data();
    }
    std::vector<float> row(cols);
    for (int64_t i = 0; i < cols; ++i) row[i] = std::sin(static_cast<float>(i));
    for (int64_t r = 0; r < rows; ++r) store_row(row.data(), view, r, isa);
  }
};

void bench_peak(const Bench& bench) {
  const auto print = [](const char* name, const ComputePeak& peak) {
    std::printf("%s: bf16 %.0f GFLOP/s, int8 %.0f GOP/s\n", name, peak.bf16 / 1e9, peak.int8 / 1e9);
  };
  std::printf("%d threads\n", bench.num_threads);
  print("peak", measure_vector_peak(bench.num_threads, use_cpu_time));
  if (bench.context.isa == CpuIsa::kAmx) print("peak of tiles", measure_tile_peak(bench.num_threads, use_cpu_time));
}

const char* name_of(WeightFormat format) {
  constexpr const char* kNames[] = {"f32", "bf16", "int8", "int4"};
  return kNames[static_cast<int>(format)];
}

void bench_tall(Bench& bench) {
  std::printf("\ntall: G/s (median of 7)\n%-6s %6s %6s %6s %9s %9s %6s\n", "format", "M", "N", "K", "ours", "oneDNN",
              "share");
  for (const auto& [full_n, k] : {std::pair<int64_t, int64_t>{13696, 4096}, {4096, 13696}}) {
    const int64_t n = use_cpu_time ? 1024 : full_n;
    for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
      const auto weight = bench.pack(n, k, format);
      for (const int64_t m : {16, 128, 512, 1024}) {
        if (use_cpu_time && (m > 512 || k > 4096)) continue;
        Rows x(weight->input_dtype(), m, k, 128, bench.context.isa);
        Rows y(DType::kF32, m, n, 128, bench.context.isa);
        const auto rows = static_cast<int32_t>(m);
        const auto ours = [&] {
          linear({.rows = {&rows, rows}, .x = x.view, .weight = weight.get(), .y = y.view}, bench.context);
        };
        std::function<void()> theirs = [] {};
#ifdef GLIMPSE_ONEDNN
        if (format != WeightFormat::kI4) theirs = onednn_product(m, n, k, format == WeightFormat::kI8);
#endif
        std::vector<double> our_seconds;
        std::vector<double> their_seconds;
        ours();
        theirs();
        for (int i = 0; i < (use_cpu_time ? 25600 / (m + 128) : 7); ++i) {
          // OpenMP's threads spin after a region.
          if (!use_cpu_time) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          our_seconds.push_back(seconds_of(ours));
          their_seconds.push_back(seconds_of(theirs));
        }
        const double giga_ops = 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / 1e9;
        std::printf("%-6s %6ld %6ld %6ld %9.0f", name_of(format), m, n, k, giga_ops / typical(our_seconds));
        if (typical(their_seconds) > 1e-5) {
          std::printf(" %9.0f %5.1f%%", giga_ops / typical(their_seconds),
                      100 * typical(their_seconds) / typical(our_seconds));
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
}

// Layers one after the other, as a decode step reads them.
void bench_decode(Bench& bench) {
  const Memory memory(size_t{use_cpu_time ? 256U : 1024U} << 20);
  std::printf(
      "\ndecode, layers of [13696, 4096] in turn, bytes of weights a second (median of samples whose two readings "
      "of the bandwidth agree within 10 %%)\n%-6s %4s %8s %8s %7s %9s %9s\n",
      "format", "M", "GB/s", "read", "share", "vs M=1", "samples");
  for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    std::vector<std::unique_ptr<PackedLinear>> layers;
    size_t bytes = 0;
    while (bytes < size_t{use_cpu_time ? 220u : 900u} << 20) {
      layers.push_back(bench.pack(13696, 4096, format));
      bytes += layers.back()->bytes().size();
    }
    double share_of_one = 0;
    for (const int64_t m : {1, 2, 3, 4, 6, 8}) {
      Rows x(layers[0]->input_dtype(), m, 4096, 128, bench.context.isa);
      Rows y(DType::kF32, m, 13696, 128, bench.context.isa);
      const auto rows = static_cast<int32_t>(m);
      std::vector<double> rates;
      std::vector<double> reads;
      std::vector<double> shares;
      for (int i = 0; i < (use_cpu_time ? 25 : 60) && shares.size() < 9; ++i) {
        const double before = read_bandwidth(bench.pool, memory);
        const double seconds = seconds_of([&] {
          for (const auto& layer : layers) {
            linear({.rows = {&rows, rows}, .x = x.view, .weight = layer.get(), .y = y.view}, bench.context);
          }
        });
        const double after = read_bandwidth(bench.pool, memory);
        if (std::fabs(before - after) > 0.1 * after) continue;
        rates.push_back(static_cast<double>(bytes) / seconds / 1e9);
        reads.push_back((before + after) / 2e9);
        shares.push_back(rates.back() / reads.back());
      }
      if (shares.empty()) continue;
      if (m == 1) share_of_one = median(shares);
      std::printf("%-6s %4ld %8.1f %8.1f %6.1f%% %8.2fx %9zu\n", name_of(format), m, median(rates), median(reads),
                  100 * median(shares), share_of_one / median(shares), shares.size());
      std::fflush(stdout);
    }
  }
}

// One decode step's products of glimpse-mini, and its prefill and vision shapes.
void bench_mini(Bench& bench) {
  std::printf("\nglimpse-mini, microseconds (median of 301, or 31 from 64 rows on)\n");
  for (const WeightFormat format : {WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    const auto head_format = format == WeightFormat::kI4 ? WeightFormat::kI8 : format;
    struct Layer {
      std::unique_ptr<PackedLinear> qkv, o, gate_up, down;
    };
    std::vector<Layer> layers;
    for (int i = 0; i < 7; ++i) {
      layers.push_back({bench.pack(640, 384, format, LinearConsumer::kQkv, 32),
                        bench.pack(384, 384, format, LinearConsumer::kPlain, 32),
                        bench.pack(1280, 384, format, LinearConsumer::kGateUp, 32),
                        bench.pack(384, 640, format, LinearConsumer::kPlain, 32)});
    }
    const auto head = bench.pack(4096, 384, head_format, LinearConsumer::kHead, 32);
    for (const int64_t m : {1, 2, 8, 64, 256, 640}) {
      const CpuIsa isa = bench.context.isa;
      const DType in = head->input_dtype();
      Rows x(in, m, 384, 32, isa);
      Rows ffn(in, m, 640, 32, isa);
      Rows qkv(DType::kF32, m, 640, 32, isa);
      Rows out(DType::kF32, m, 384, 32, isa);
      Rows logits(DType::kF32, m, 4096, 32, isa);
      const auto rows = static_cast<int32_t>(m);
      const auto one = [&](const PackedLinear& w, const Rows& from, const Rows& to) {
        linear({.rows = {&rows, rows}, .x = from.view, .weight = &w, .y = to.view}, bench.context);
      };
      std::vector<double> times[6];
      for (int i = 0; i < (m < 64 ? 301 : 31); ++i) {
        double sums[6] = {};
        for (const Layer& layer : layers) {
          sums[0] += seconds_of([&] { one(*layer.qkv, x, qkv); });
          sums[1] += seconds_of([&] { one(*layer.o, x, out); });
          sums[2] += seconds_of([&] {
            gate_up_silu({.rows = {&rows, rows}, .x = x.view, .weight = layer.gate_up.get(), .y = ffn.view},
                         bench.context);
          });
          sums[3] += seconds_of([&] { one(*layer.down, ffn, out); });
        }
        sums[4] = seconds_of([&] { one(*head, x, logits); });
        sums[5] = sums[0] + sums[1] + sums[2] + sums[3] + sums[4];
        for (int j = 0; j < 6; ++j) times[j].push_back(sums[j] * 1e6);
      }
      std::printf("%-5s M %3ld: 7 layers of qkv %.1f, o %.1f, gate_up %.1f, down %.1f; head %.1f; together %.1f\n",
                  name_of(format), m, typical(times[0]), typical(times[1]), typical(times[2]), typical(times[3]),
                  typical(times[4]), typical(times[5]));
      std::fflush(stdout);
    }
  }
}

void bench_pack(Bench& bench) {
  std::printf("\npacking [13696, 4096], with a reader that copies\n");
  constexpr int64_t kRows = 13696;
  constexpr int64_t kCols = 4096;
  std::vector<float> w(kRows * kCols);
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.015f);
  for (float& value : w) value = normal(random);
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kBF16, WeightFormat::kI8, WeightFormat::kI4}) {
    const LinearSpec spec{.name = "bench", .rows = kRows, .cols = kCols, .format = format, .bias = {}};
    std::vector<double> times;
    std::unique_ptr<PackedLinear> packed;
    for (int i = 0; i < 5; ++i) {
      times.push_back(seconds_of([&] {
        packed = *pack_linear(
            spec,
            [&](int64_t first, int64_t count, float* dst) {
              std::memcpy(dst, w.data() + first * kCols, count * kCols * sizeof(float));
            },
            bench.context);
      }));
    }
    std::vector<float> stored(w.size());
    static_cast<const Packed&>(*packed).unpack(stored.data());
    double error = 0;
    double norm = 0;
    double plain = 0;  // int4 with the scale max|w| / 7
    for (size_t i = 0; i < w.size(); i += 128) {
      float max = 0;
      for (size_t j = i; j < i + 128; ++j) max = std::max(max, std::fabs(w[j]));
      const float scale = to_float(to_f16(max / 7));
      for (size_t j = i; j < i + 128; ++j) {
        const double off = w[j] - std::clamp(std::nearbyint(w[j] / scale), -8.0f, 7.0f) * scale;
        plain += off * off;
        error += (double{stored[j]} - w[j]) * (double{stored[j]} - w[j]);
        norm += double{w[j]} * w[j];
      }
    }
    std::printf("%-5s %.1f M weights/s, error %.5f of the norm", name_of(format),
                static_cast<double>(w.size()) / typical(times) / 1e6, std::sqrt(error / norm));
    if (format == WeightFormat::kI4) std::printf(" (scale max|w|/7: %.5f)", std::sqrt(plain / norm));
    std::printf("\n");
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace glimpse::cpu

int main(int argc, char** argv) {
  std::vector<std::string> names(argv + 1, argv + argc);
  glimpse::cpu::use_cpu_time = std::erase(names, "--busy") > 0;
  if (const auto flag = std::ranges::find(names, "--isa"); flag != names.end() && flag + 1 != names.end()) {
    for (int i = 0; i <= glimpse::cpu::detect_isa(); ++i) {
      if (flag[1] == glimpse::cpu::isa_name(static_cast<glimpse::CpuIsa>(i))) glimpse::cpu::isa_wanted = i;
    }
    names.erase(flag, flag + 2);
  }
  glimpse::cpu::Bench bench;
  const auto wanted = [&](const char* name) { return names.empty() || std::ranges::find(names, name) != names.end(); };
  if (wanted("peak")) bench_peak(bench);
  if (wanted("tall")) bench_tall(bench);
  if (wanted("decode")) bench_decode(bench);
  if (wanted("mini")) bench_mini(bench);
  if (wanted("pack")) bench_pack(bench);
  return 0;
}
