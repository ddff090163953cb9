#include "tests/kernels/rig.h"

#include "kernels/elements.h"
#include "kernels/quantization.h"

namespace glimpse::testing {

namespace {

constexpr size_t kGuardBytes = 128;

}  // namespace

std::vector<Target> targets() {
  std::vector<Target> all;
  const char* names[] = {"avx2", "avx512", "avx512bf16", "amx"};
  for (int isa = 0; isa < 4; ++isa) {
    for (const bool deferred : {false, true}) {
      const CpuOptions options{.num_threads = 3, .isa = isa, .deferred = deferred};
      if (!make_cpu_backend(options)) continue;
      all.push_back({std::string(names[isa]) + (deferred ? " deferred" : " inline"), options});
    }
  }
  if (why_no_cuda().empty()) all.push_back({.name = "cuda", .options = {}, .cuda = true});
  return all;
}

std::string why_no_cuda() {
  const auto cuda = make_cuda_backend({});
  return cuda ? std::string() : cuda.error().message;
}

Rig::Rig(const Target& target)
    : backend_(target.cuda ? *make_cuda_backend({}) : *make_cpu_backend(target.options)),
      stream_(backend_->make_stream()) {}

Rig::~Rig() {
  stream_->synchronize();
  for (const Buffer& buffer : buffers_) {
    const std::vector<uint8_t> bytes = download(buffer.as<uint8_t>(), buffer.bytes());
    const uint8_t* data = bytes.data();
    for (size_t i = 0; i < kGuardBytes; ++i) {
      EXPECT_EQ(data[i], kGuard) << "guard before a buffer of " << buffer.bytes();
      EXPECT_EQ(data[buffer.bytes() - 1 - i], kGuard) << "guard behind a buffer of " << buffer.bytes();
      if (data[i] != kGuard || data[buffer.bytes() - 1 - i] != kGuard) return;
    }
  }
}

void* Rig::allocate(size_t bytes) {
  const size_t padded = (bytes + 63) / 64 * 64 + 2 * kGuardBytes;
  auto buffer = backend_->allocate(padded, MemoryKind::kDevice);
  EXPECT_TRUE(buffer);
  const std::vector<uint8_t> fill(padded, kGuard);
  stream_->copy(buffer->data(), keep(fill.data(), padded), padded);
  buffers_.push_back(std::move(*buffer));
  return buffers_.back().as<std::byte>() + kGuardBytes;
}

const void* Rig::keep(const void* data, size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  uploads_.emplace_back(begin, begin + bytes);
  return uploads_.back().data();
}

Matrix Rig::matrix(DType dtype, int64_t rows, int64_t cols, const std::vector<float>& values, int64_t padding) {
  const int64_t stride = cols + padding;
  const size_t bytes = static_cast<size_t>(rows * stride) * dtype_bytes(dtype);
  std::vector<std::byte> host(bytes, std::byte{kGuard});
  const Matrix view = {.data = host.data(), .dtype = dtype, .rows = rows, .cols = cols, .stride = stride};
  for (size_t i = 0; i < values.size(); ++i) {
    put_element(view, static_cast<int64_t>(i) / cols, static_cast<int64_t>(i) % cols, values[i]);
  }
  Matrix m = view;
  m.data = upload(host);
  return m;
}

std::vector<float> Rig::read(const Matrix& m, int64_t rows) {
  auto host =
      download(static_cast<const std::byte*>(m.data), static_cast<size_t>(m.rows * m.stride) * dtype_bytes(m.dtype));
  Matrix view = m;
  view.data = host.data();
  std::vector<float> values;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) values.push_back(get_element(view, r, c));
  }
  return values;
}

Activation Rig::activation(DType dtype, int64_t rows, int64_t cols, int32_t group) {
  Activation a{.values = matrix(dtype, rows, cols)};
  if (dtype != DType::kI8) return a;
  a.group = group;
  a.scales = static_cast<float*>(allocate(static_cast<size_t>(rows * a.num_groups()) * sizeof(float)));
  a.sums = static_cast<int32_t*>(allocate(static_cast<size_t>(rows * a.num_groups()) * sizeof(int32_t)));
  return a;
}

Activation Rig::input(DType dtype, int64_t rows, int64_t cols, int32_t group, const std::vector<float>& values) {
  if (dtype != DType::kI8) return {.values = matrix(dtype, rows, cols, values)};
  Activation a = activation(dtype, rows, cols, group);
  std::vector<int8_t> stored(static_cast<size_t>(rows * a.values.stride), int8_t{kGuard});
  std::vector<float> scales;
  std::vector<int32_t> sums;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t begin = 0; begin < cols; begin += group) {
      const int64_t end = std::min<int64_t>(begin + group, cols);
      float max = 0;
      for (int64_t c = begin; c < end; ++c) max = std::max(max, std::fabs(values[r * cols + c]));
      const Int8Scale scale = int8_scale(max);
      int32_t sum = 0;
      for (int64_t c = begin; c < end; ++c) {
        sum += stored[r * a.values.stride + c] = int8_value(values[r * cols + c], scale);
      }
      scales.push_back(scale.scale);
      sums.push_back(sum);
    }
  }
  write(static_cast<int8_t*>(a.values.data), stored);
  write(a.scales, scales);
  write(a.sums, sums);
  return a;
}

std::vector<float> Rig::read(const Activation& a, int64_t rows) {
  std::vector<float> values = read(a.values, rows);
  // What lies to the right of and below the rows is still what allocate() put there; rows up to the capacity may get
  // values from a product on CUDA, where nobody looks.
  const auto bytes = download(static_cast<const uint8_t*>(a.values.data),
                              static_cast<size_t>(a.values.rows * a.values.stride) * dtype_bytes(a.values.dtype));
  const int64_t size = dtype_bytes(a.values.dtype);
  for (int64_t i = 0; i < static_cast<int64_t>(bytes.size()); ++i) {
    const bool inside =
        (is_cuda() || i / (a.values.stride * size) < rows) && i % (a.values.stride * size) < a.values.cols * size;
    if (!inside && bytes[i] != kGuard) {
      ADD_FAILURE() << "padding overwritten at row " << i / (a.values.stride * size) << ", byte "
                    << i % (a.values.stride * size);
      break;
    }
  }
  if (a.values.dtype != DType::kI8) return values;
  const auto scales = download(a.scales, a.values.rows * a.num_groups());
  const auto sums = download(a.sums, a.values.rows * a.num_groups());
  for (int64_t r = 0; r < rows; ++r) {
    std::vector<int32_t> expected(a.num_groups());
    for (int64_t c = 0; c < a.values.cols; ++c) {
      expected[c / a.group] += static_cast<int32_t>(values[r * a.values.cols + c]);
      values[r * a.values.cols + c] *= scales[r * a.num_groups() + c / a.group];
    }
    for (int64_t g = 0; g < a.num_groups(); ++g) EXPECT_EQ(sums[r * a.num_groups() + g], expected[g]) << r << " " << g;
  }
  return values;
}

std::vector<float> Rig::steps(const Activation& a, int64_t rows, const std::vector<float>& values) {
  std::vector<float> steps(values.size());
  std::vector<float> scales;
  if (a.values.dtype == DType::kI8) scales = download(a.scales, a.values.rows * a.num_groups());
  for (int64_t i = 0; i < rows * a.values.cols; ++i) {
    const float magnitude = std::fabs(values[i]);
    const float ulp = std::nextafter(magnitude, INFINITY) - magnitude;
    steps[i] = a.values.dtype == DType::kF32 ? ulp
               : a.values.dtype == DType::kBF16
                   ? ulp * 65536
                   : scales[i / a.values.cols * a.num_groups() + i % a.values.cols / a.group];
  }
  return steps;
}

std::unique_ptr<PackedLinear> Rig::pack(const LinearSpec& spec, const std::vector<float>& values) {
  auto packed = backend_->pack(spec, [&](int64_t first, int64_t count, float* dst) {
    std::memcpy(dst, values.data() + first * spec.cols, static_cast<size_t>(count * spec.cols) * sizeof(float));
  });
  EXPECT_TRUE(packed);
  return std::move(*packed);
}

std::vector<float> normal_values(size_t count, uint32_t seed, float scale, bool outliers) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = normal(random) * (outliers && i % 13 == 12 ? 100.0f : 1.0f);
  return values;
}

std::vector<float> rounded_to(DType dtype, std::vector<float> values) {
  if (dtype == DType::kBF16) {
    for (float& x : values) x = to_float(to_bf16(x));
  }
  if (dtype == DType::kF16) {
    for (float& x : values) x = to_float(to_f16(x));
  }
  return values;
}

double expect_close(const std::string& what, uint32_t seed, const std::vector<float>& actual,
                    const std::vector<float>& expected, const std::vector<float>& limits) {
  EXPECT_TRUE(actual.size() == expected.size() && limits.size() == expected.size()) << what;
  if (actual.size() != expected.size() || limits.size() != expected.size()) return INFINITY;
  size_t worst = 0;
  double worst_fraction = 0;
  for (size_t i = 0; i < actual.size(); ++i) {
    const double error = std::fabs(double{actual[i]} - expected[i]);
    const double fraction = error == 0 ? 0 : error / limits[i];
    if (!(fraction <= worst_fraction)) {  // NaN counts as worst
      worst = i;
      worst_fraction = std::isnan(fraction) ? INFINITY : fraction;
    }
  }
  if (!actual.empty()) {
    EXPECT_LE(worst_fraction, 1.0) << what << ", seed " << seed << ": element " << worst << " of " << actual.size()
                                   << " is " << actual[worst] << ", expected " << expected[worst] << ", limit "
                                   << limits[worst];
  }
  return worst_fraction;
}

}  // namespace glimpse::testing
