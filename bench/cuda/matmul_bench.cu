// The weight products of the CUDA back end: verified against float64, then timed.
//
//   cuda_matmul_bench           all that follows
//   cuda_matmul_bench verify    every kernel over shapes with ragged edges; exit code 1 if one is wrong
//   cuda_matmul_bench time [TYPE]    the 9B model's products with weights rotated past the L2 cache: GB/s and share of
//                               the copy bandwidth measured in the same run
//   cuda_matmul_bench one KERNEL TYPE N K gate_up|plain ROWS    one product, for a profiler
//   cuda_matmul_bench step      all products of a decode step of the 9B model in one graph, 40 layers and the head

#include <cuda_fp8.h>

#include <cmath>
#include <cstring>
#include <string>

#include "bench/cuda/device_bench.cuh"
#include "kernels/cuda/i4_layout.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/pack.h"

namespace {

using namespace glimpse::cuda;
using bench::Memory;

const char* name_of(MatmulFormat format) {
  return format == MatmulFormat::kBF16 ? "bf16" : format == MatmulFormat::kF8 ? "fp8" : "int4";
}

// A weight with everything a reference needs beside the packed form.
struct Weight {
  MatmulWeight packed;
  std::vector<Memory> memory;
  const uint8_t* values = nullptr;   // kI4
  const uint16_t* scales = nullptr;  // kI4
  const uint8_t* zeros = nullptr;    // kI4
};

__global__ void fill_half(uint16_t* data, size_t count, uint32_t seed) {
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += static_cast<size_t>(gridDim.x) * blockDim.x) {
    data[i] = static_cast<uint16_t>(0x1c00 + bench::hash(static_cast<uint32_t>(i) ^ seed) % 1024);  // 2^-8 to 2^-7
  }
}

size_t packed_bytes(MatmulFormat format, int64_t n, int32_t k, bool zeros) {
  if (format == MatmulFormat::kI4) return static_cast<size_t>(n * i4::row_bytes(k, zeros));
  return static_cast<size_t>(n) * k * (format == MatmulFormat::kF8 ? 1 : 2);
}

Weight make_weight(MatmulFormat format, int32_t n, int32_t k, bool gate_up, bool bias, bool zeros, uint32_t seed) {
  Weight w;
  const auto add = [&w](size_t bytes) { return w.memory.emplace_back(bytes).get<uint8_t>(); };
  const size_t count = static_cast<size_t>(n) * k;
  uint8_t* data = add(packed_bytes(format, n, k, zeros));
  w.packed = {.format = format, .n = n, .k = k, .data = data, .zero_points = zeros, .gate_up = gate_up};
  if (bias) {
    auto* values = reinterpret_cast<float*>(add(n * 4));
    bench::fill_f32<<<64, 256>>>(values, n, seed + 1, 0.5f, 0);
    w.packed.bias = values;
  }
  if (format == MatmulFormat::kBF16) {
    bench::fill_bf16<<<1024, 256>>>(reinterpret_cast<__nv_bfloat16*>(data), count, seed, 0.02f);
  } else if (format == MatmulFormat::kF8) {
    const Memory rows(count * 2);
    auto* scales = reinterpret_cast<float*>(add(n * 4));
    bench::fill_bf16<<<1024, 256>>>(rows.get<__nv_bfloat16>(), count, seed, 0.02f);
    BENCH_CHECK(pack_f8({.data = rows.get(), .f32 = false, .rows = n, .k = k}, data, scales, nullptr));
    BENCH_CHECK(cudaDeviceSynchronize());
    w.packed.scales = scales;
  } else {
    uint8_t* values = add(count);
    auto* scales = reinterpret_cast<uint16_t*>(add(count / 128 * 2));
    uint8_t* zero = zeros ? add(count / 128) : nullptr;
    bench::fill_bytes<<<1024, 256>>>(values, count, seed, 16);
    fill_half<<<256, 256>>>(scales, count / 128, seed + 2);
    if (zeros) bench::fill_bytes<<<256, 256>>>(zero, count / 128, seed + 3, 16);
    const auto row_bytes = static_cast<size_t>(StagedI4::row_bytes(k));
    const Memory staged(row_bytes * n);
    const auto copy = [&](size_t at, const void* from, size_t width) {
      BENCH_CHECK(cudaMemcpy2D(staged.get<uint8_t>() + at, row_bytes, from, width, width, n, cudaMemcpyDeviceToDevice));
    };
    copy(0, values, k);
    copy(k, scales, k / 128 * 2);
    if (zeros) copy(k + k / 128 * 2, zero, k / 128);
    BENCH_CHECK(pack_i4_values({.data = staged.get<uint8_t>(), .zero_points = zeros, .rows = n, .k = k, .n = n}, data,
                               nullptr));
    BENCH_CHECK(cudaDeviceSynchronize());
    w.values = values;
    w.scales = scales;
    w.zeros = zero;
  }
  BENCH_CHECK(cudaGetLastError());
  return w;
}

struct Truth {
  MatmulWeight w;
  const uint8_t* values;
  const uint16_t* scales;
  const uint8_t* zeros;
};

__device__ double sum_of(const Truth& t, const MatmulOperands& o, int64_t row, int64_t r) {
  double sum = 0;
  for (int k = threadIdx.x % 32; k < t.w.k; k += 32) {
    const int64_t at = row * t.w.k + k;
    double w;
    double x;
    if (t.w.format == MatmulFormat::kF8) {
      w = float(static_cast<const __nv_fp8_e4m3*>(t.w.data)[at]);
      x = o.x_scales == nullptr ? double(__bfloat162float(static_cast<const __nv_bfloat16*>(o.x)[r * o.x_stride + k]))
                                : double(float(static_cast<const __nv_fp8_e4m3*>(o.x)[r * o.x_stride + k]));
    } else {
      x = __bfloat162float(static_cast<const __nv_bfloat16*>(o.x)[r * o.x_stride + k]);
      if (t.w.format == MatmulFormat::kBF16) {
        w = __bfloat162float(static_cast<const __nv_bfloat16*>(t.w.data)[at]);
      } else {
        const double scale = __half2float(__ushort_as_half(t.scales[at / 128]));
        w = (int(t.values[at]) - (t.zeros == nullptr ? 8 : int(t.zeros[at / 128]))) * scale;
      }
    }
    sum += w * x;
  }
  for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
  if (t.w.format == MatmulFormat::kF8) sum *= double(t.w.scales[row]) * (o.x_scales == nullptr ? 1.0f : o.x_scales[r]);
  return t.w.bias == nullptr ? sum : sum + t.w.bias[row];
}

// A warp per output.
__global__ void truth_kernel(const Truth t, const MatmulOperands o, double* y, int64_t units) {
  const int64_t unit = blockIdx.x * static_cast<int64_t>(blockDim.x / 32) + threadIdx.x / 32;
  const int64_t r = blockIdx.y;
  if (unit >= units) return;
  double value = sum_of(t, o, unit, r);
  if (t.w.gate_up) value = value / (1 + exp(-value)) * sum_of(t, o, unit + units, r);
  if (threadIdx.x % 32 == 0) y[r * units + unit] = value;
}

struct X {
  Memory values;
  Memory f8;
  Memory scales;
  int64_t stride;
};

X make_x(int32_t rows, int32_t k, uint32_t seed) {
  const int64_t stride = (k + 7) / 8 * 8 + 64;
  X x{Memory(rows * stride * 2), Memory(rows * (stride + 64)), Memory(rows * 4), stride};
  bench::fill_bf16<<<256, 256>>>(x.values.get<__nv_bfloat16>(), rows * stride, seed, 1.0f);
  BENCH_CHECK(quantize_f8({.x = x.values.get(),
                           .x_stride = stride,
                           .q = x.f8.get(),
                           .q_stride = stride + 64 - stride % 16,
                           .scales = x.scales.get<float>(),
                           .rows = rows,
                           .k = k},
                          nullptr));
  return x;
}

// `f8`: x as fp8 with scales, for the kernel of fp8 weights that wants it so.
MatmulOperands operands_of(const X& x, int32_t rows, void* y, int64_t y_stride, bool y_f32, const int32_t* count,
                           bool f8 = false) {
  return {.x = f8 ? x.f8.get() : x.values.get(),
          .x_stride = f8 ? x.stride + 64 - x.stride % 16 : x.stride,
          .x_scales = f8 ? x.scales.get<float>() : nullptr,
          .y = y,
          .y_stride = y_stride,
          .y_f32 = y_f32,
          .rows = rows,
          .count = count};
}

enum class Kernel { kGeneric, kSkinny, kGateUp, kBatch, kWide };

const char* name_of(Kernel kernel) {
  const char* const names[] = {"generic", "skinny", "gate_up", "batch", "wide"};
  return names[static_cast<int>(kernel)];
}

cudaError_t enqueue(Kernel kernel, const MatmulWeight& w, const MatmulOperands& o, const MatmulDevice& device,
                    cudaStream_t stream) {
  if (kernel == Kernel::kSkinny) return matmul_skinny(w, o, device, stream);
  if (kernel == Kernel::kGateUp) return matmul_gate_up(w, o, device, stream);
  if (kernel == Kernel::kBatch) return matmul_batch_i4(w, o, device, stream);
  if (kernel == Kernel::kWide) return matmul_wide_i4(w, o, device, stream);
  return matmul_generic(w, o, stream);
}

bool supports(Kernel kernel, const MatmulWeight& w, const MatmulOperands& o, const MatmulDevice& device) {
  return kernel == Kernel::kGeneric || (kernel == Kernel::kSkinny && skinny_supports(w, o, device)) ||
         (kernel == Kernel::kGateUp && gate_up_supports(w, o, device)) ||
         (kernel == Kernel::kBatch && batch_i4_supports(w, o, device)) ||
         (kernel == Kernel::kWide && wide_i4_supports(w, o, device));
}

struct Case {
  MatmulFormat format;
  int32_t n;
  int32_t k;
  bool gate_up = false;
  bool bias = false;
  bool zeros = false;
};

// The error of one product as a share of its limit; above 1 is a failure.
double verify(const Weight& w, const X& x, int32_t rows, Kernel kernel, bool y_f32, bool twice,
              const MatmulDevice& device, cudaStream_t stream) {
  const int64_t units = w.packed.gate_up ? w.packed.n / 2 : w.packed.n;
  const int64_t stride = units + 8;
  const int32_t used = rows > 2 ? rows - 1 : rows;  // the last row is padding
  const Memory count(4);
  const Memory y(rows * stride * 4);
  const Memory truth(rows * units * 8);
  BENCH_CHECK(cudaMemcpy(count.get(), &used, 4, cudaMemcpyHostToDevice));
  const MatmulOperands o = operands_of(x, rows, y.get(), stride, y_f32, count.get<int32_t>(),
                                       w.packed.format == MatmulFormat::kF8 && kernel == Kernel::kGeneric);
  if (!supports(kernel, w.packed, o, device)) return 0;
  truth_kernel<<<dim3((units + 3) / 4, rows), 128>>>({w.packed, w.values, w.scales, w.zeros}, o, truth.get<double>(),
                                                     units);
  const size_t bytes = rows * stride * (y_f32 ? 4 : 2);
  std::vector<uint8_t> first;
  std::vector<uint8_t> out(bytes);
  for (int i = 0; i < (twice ? 2 : 1); ++i) {
    BENCH_CHECK(cudaMemset(y.get(), 0xff, bytes));
    BENCH_CHECK(cudaDeviceSynchronize());
    BENCH_CHECK(enqueue(kernel, w.packed, o, device, stream));
    BENCH_CHECK(cudaDeviceSynchronize());
    BENCH_CHECK(cudaMemcpy(out.data(), y.get(), bytes, cudaMemcpyDeviceToHost));
    if (i == 1 && first != out) return 1e9;  // not the same twice
    first = out;
  }
  std::vector<double> expected(rows * units);
  BENCH_CHECK(cudaMemcpy(expected.data(), truth.get(), expected.size() * 8, cudaMemcpyDeviceToHost));
  double miss = 0;
  double norm = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < stride; ++c) {
      const size_t at = r * stride + c;
      uint32_t bits = 0;
      std::memcpy(&bits, out.data() + at * (y_f32 ? 4 : 2), y_f32 ? 4 : 2);
      const bool poison = bits == (y_f32 ? 0xffffffffu : 0xffffu);
      if (r >= used || c >= units) {
        if (!poison) return 1e8;  // written where nothing belongs
        continue;
      }
      if (poison) return 1e7;  // not written
      const uint32_t word = y_f32 ? bits : bits << 16;
      float value;
      std::memcpy(&value, &word, 4);
      const double e = expected[r * units + c];
      miss += (value - e) * (value - e);
      norm += e * e;
    }
  }
  // bf16 output rounds by 2^-9 at most, 1.7e-3 in the mean of squares; wide int4 rounds each scaled weight to bf16 too.
  // Behind SiLU two such sums are multiplied.
  const double limit = kernel >= Kernel::kBatch ? (w.packed.gate_up ? 6e-3 : 4e-3) : y_f32 ? 2e-5 : 3e-3;
  const double error = std::sqrt(miss / norm) / limit;
  return std::isfinite(error) ? error : 1e6;
}

int run_verify(const MatmulDevice& device, cudaStream_t stream, bool quick) {
  using enum MatmulFormat;
  std::vector<Case> cases = {
      {kBF16, 4608, 4096, false, true},
      {kBF16, 4096, 13696},
      {kBF16, 2 * 1000, 4096, true},
      {kBF16, 2 * 13696, 512, true},
      {kBF16, 80, 64},
      {kBF16, 2 * 96, 96, true, true},
      {kBF16, 7, 32},
      {kBF16, 151552, 128},
      {kF8, 4608, 4096, false, true},
      {kF8, 4096, 13696},
      {kF8, 2 * 1000, 4096, true},
      {kF8, 2 * 13696, 512, true},
      {kF8, 48, 64},
      {kF8, 151552, 128},
      {kI4, 4608, 4096, false, true},
      {kI4, 4096, 13696},
      {kI4, 2 * 1000, 4096, true},
      {kI4, 2 * 13696, 512, true},
      {kI4, 4096, 13696, false, false, true},
      {kI4, 2 * 1000, 1152, true, true, true},
      {kI4, 48, 128},
      {kI4, 2 * 96, 384, true},
      {kI4, 6144, 1024, false, true, true},
      {kI4, 2 * 13696, 4096 + 384, true, true, true},  // two passes of more than 8 rows, odd last chunk
      {kI4, 2 * 13697, 2176, true},                    // gate and up of different parity
      {kI4, 36000, 3200, false, true},                 // several passes of few rows
      {kI4, 8192, 5248, false, false, true},           // the smallest rings
  };
  if (quick) {
    cases = {{kBF16, 300, 1056, false, true},
             {kBF16, 2 * 300, 544, true},
             {kF8, 300, 1088},
             {kI4, 304, 1408, false, true, true},
             {kI4, 2 * 160, 1408, true}};
  }
  int failures = 0;
  for (const Case& c : cases) {
    const Weight w = make_weight(c.format, c.n, c.k, c.gate_up, c.bias, c.zeros, 7 + c.n);
    for (const Kernel kernel : {Kernel::kGeneric, Kernel::kSkinny, Kernel::kGateUp, Kernel::kBatch, Kernel::kWide}) {
      double worst = 0;
      int worst_rows = 0;
      for (const int rows : {1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 128, 130, 512}) {
        if (rows > (kernel == Kernel::kGeneric  ? 3
                    : kernel == Kernel::kSkinny ? 16
                    : kernel == Kernel::kBatch  ? 128
                                                : 512))
          continue;
        if (quick && rows > 130) continue;
        const X x = make_x(rows, c.k, 100 + rows);
        for (const bool f32 : {false, true}) {
          const double error = verify(w, x, rows, kernel, f32, kernel != Kernel::kGeneric, device, stream);
          if (error > worst) {
            worst = error;
            worst_rows = rows;
          }
        }
      }
      if (worst == 0) continue;
      std::printf("%s %-7s %-5s [%d, %d]%s%s%s: %.3g of the limit at %d rows\n", worst > 1 ? "FAIL" : "ok  ",
                  name_of(kernel), name_of(c.format), c.n, c.k, c.gate_up ? " gate_up" : "", c.bias ? " bias" : "",
                  c.zeros ? " zeros" : "", worst, worst_rows);
      std::fflush(stdout);
      failures += worst > 1;
    }
  }
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

struct Shape {
  const char* name;
  int32_t n;
  int32_t k;
  bool gate_up;
};

const Shape kShapes[] = {{"qkv", 4608, 4096, false},
                         {"o", 4096, 4096, false},
                         {"gate_up", 27392, 4096, true},
                         {"down", 4096, 13696, false},
                         {"head", 151552, 4096, false}};

// A weight of random bytes: speed only. NaN patterns of fp8 and bf16 do no harm to it, zeros would.
Weight make_bytes(MatmulFormat format, const Shape& shape, uint32_t seed) {
  Weight w;
  const size_t bytes = packed_bytes(format, shape.n, shape.k, false);
  auto* data = w.memory.emplace_back(bytes).get<uint8_t>();
  w.packed = {.format = format, .n = shape.n, .k = shape.k, .data = data, .gate_up = shape.gate_up};
  if (format == MatmulFormat::kBF16) {
    bench::fill_bf16<<<2048, 256>>>(reinterpret_cast<__nv_bfloat16*>(data), bytes / 2, seed, 0.02f);
  } else {
    bench::fill_bytes<<<2048, 256>>>(data, bytes, seed, format == MatmulFormat::kI4 ? 60 : 127);
  }
  if (format == MatmulFormat::kF8) {
    auto* scales = w.memory.emplace_back(shape.n * 4).get<float>();
    bench::fill_f32<<<64, 256>>>(scales, shape.n, seed, 0, 1e-3f);
    w.packed.scales = scales;
  }
  return w;
}

// `only`: one type of weights, or empty.
void run_time(const MatmulDevice& device, cudaStream_t stream, double copy, const std::string& only) {
  std::printf("%-8s %-5s %5s %9s %8s %7s %8s\n", "product", "type", "rows", "us", "GB/s", "% copy", "TFLOP/s");
  for (const MatmulFormat format : {MatmulFormat::kBF16, MatmulFormat::kF8, MatmulFormat::kI4}) {
    if (!only.empty() && only != name_of(format)) continue;
    for (const Shape& shape : kShapes) {
      const size_t bytes = packed_bytes(format, shape.n, shape.k, false);
      const int copies = std::max<int>(4, static_cast<int>((size_t{600} << 20) / bytes) + 1);
      std::vector<Weight> weights;
      for (int i = 0; i < copies; ++i) weights.push_back(make_bytes(format, shape, i));
      for (const int rows : {1, 4, 8, 16, 32, 64, 128, 256, 512, 2048}) {
        const X x = make_x(rows, shape.k, 3);
        const int64_t units = shape.gate_up ? shape.n / 2 : shape.n;
        const Memory y(static_cast<size_t>(rows) * units * 2);
        const MatmulOperands o = operands_of(x, rows, y.get(), units, false, nullptr);
        for (const Kernel kernel : {Kernel::kSkinny, Kernel::kGateUp, Kernel::kBatch, Kernel::kWide}) {
          if (!supports(kernel, weights[0].packed, o, device)) continue;
          if ((kernel == Kernel::kBatch || kernel == Kernel::kGateUp) && rows < 8) continue;
          if (kernel == Kernel::kWide && (rows <= 32 || (rows > 64 && shape.n > 100000))) continue;
          BENCH_CHECK(cudaDeviceSynchronize());
          const double us = bench::graph_us(stream,
                                            [&](cudaStream_t s) {
                                              for (const Weight& w : weights)
                                                BENCH_CHECK(enqueue(kernel, w.packed, o, device, s));
                                            }) /
                            copies;
          std::printf("%-8s %-5s %5d %9.2f %8.0f %6.1f%% %8.1f %s\n", shape.name, name_of(format), rows, us,
                      bytes / us * 1e-3, bytes / us * 1e8 / copy, 2e-6 * rows * shape.n * shape.k / us,
                      name_of(kernel));
        }
      }
      std::fflush(stdout);
    }
  }
}

void run_step(const MatmulDevice& device, cudaStream_t stream, double copy) {
  std::printf("products of a decode step, 40 layers and the head; floor at the copy bandwidth\n");
  for (const MatmulFormat format : {MatmulFormat::kBF16, MatmulFormat::kF8, MatmulFormat::kI4}) {
    std::vector<Weight> weights;
    double bytes = 0;
    for (int layer = 0; layer <= 40; ++layer) {
      for (const Shape& shape : kShapes) {
        if ((shape.n > 100000) != (layer == 40)) continue;
        const MatmulFormat kind = layer == 40 ? MatmulFormat::kBF16 : format;
        weights.push_back(make_bytes(kind, shape, layer));
        bytes += packed_bytes(kind, shape.n, shape.k, false);
      }
    }
    for (const int rows : {1, 4, 8, 16}) {
      const X x = make_x(rows, 13696, 3);
      const Memory y(static_cast<size_t>(rows) * 151552 * 2);
      const Kernel kernel = rows <= 16 ? Kernel::kSkinny : Kernel::kWide;
      if (rows > 16) continue;
      const double us = bench::graph_us(stream, [&](cudaStream_t s) {
        for (const Weight& w : weights) {
          if (rows > 16 && w.packed.format != MatmulFormat::kI4) continue;
          const int64_t units = w.packed.gate_up ? w.packed.n / 2 : w.packed.n;
          const MatmulOperands o = operands_of(x, rows, y.get(), units, false, nullptr);
          BENCH_CHECK(enqueue(kernel, w.packed, o, device, s));
        }
      });
      std::printf("%-5s %3d rows: %7.3f ms, floor %.3f ms, %.1f%%%s\n", name_of(format), rows, us * 1e-3,
                  bytes / copy * 1e3, bytes / copy / us * 1e8, rows > 16 ? " (without the head)" : "");
      std::fflush(stdout);
    }
  }
}

// One kernel, a few times: for a profiler.
int run_one(const MatmulDevice& device, cudaStream_t stream, char** arguments) {
  const Kernel kernel = std::string(arguments[0]) == "wide"    ? Kernel::kWide
                        : std::string(arguments[0]) == "batch" ? Kernel::kBatch
                                                               : Kernel::kSkinny;
  const std::string type = arguments[1];
  const Shape shape{"", std::atoi(arguments[2]), std::atoi(arguments[3]), std::string(arguments[4]) == "gate_up"};
  const int rows = std::atoi(arguments[5]);
  const Weight w = make_bytes(type == "bf16"  ? MatmulFormat::kBF16
                              : type == "fp8" ? MatmulFormat::kF8
                                              : MatmulFormat::kI4,
                              shape, 1);
  const X x = make_x(rows, shape.k, 3);
  const Memory y(static_cast<size_t>(rows) * shape.n * 2);
  const MatmulOperands o = operands_of(x, rows, y.get(), shape.gate_up ? shape.n / 2 : shape.n, false, nullptr);
  for (int i = 0; i < 3; ++i) BENCH_CHECK(enqueue(kernel, w.packed, o, device, stream));
  BENCH_CHECK(cudaDeviceSynchronize());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  cudaDeviceProp properties;
  BENCH_CHECK(cudaGetDeviceProperties(&properties, 0));
  const MatmulDevice device{.num_sms = properties.multiProcessorCount,
                            .arch = properties.major * 10 + properties.minor};
  cudaStream_t stream;
  BENCH_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  const std::string what = argc > 1 ? argv[1] : "all";
  std::printf("%s, %d SMs\n", properties.name, device.num_sms);
  if (what == "verify" || what == "quick" || what == "all") {
    const int failed = run_verify(device, stream, what == "quick");
    if (what != "all" || failed != 0) return failed;
  }
  if (what == "one" && argc == 8) return run_one(device, stream, argv + 2);
  const double copy = bench::copy_bandwidth(stream);
  std::printf("copy %.0f GB/s, read %.0f GB/s\n", copy * 1e-9, bench::read_bandwidth(stream) * 1e-9);
  if (what == "time" || what == "all") run_time(device, stream, copy, argc > 2 ? argv[2] : "");
  if (what == "step" || what == "all") run_step(device, stream, copy);
  return 0;
}
