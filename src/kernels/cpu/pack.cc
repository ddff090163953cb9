#include "kernels/cpu/pack.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <vector>

#include "base/check.h"
#include "kernels/cpu/matmul.h"

namespace glimpse::cpu {

namespace {

constexpr size_t kHugePage = size_t{2} << 20;

struct Header {
  char magic[8] = {'G', 'L', 'M', 'P', 'A', 'C', 'K', '1'};
  int64_t rows = 0;
  int64_t cols = 0;
  int32_t group = 0;
  uint8_t format = 0;
  uint8_t consumer = 0;
  uint8_t has_bias = 0;
  uint8_t zero[33] = {};
};
static_assert(sizeof(Header) == 64);

size_t round_up(size_t x, size_t unit) {
  return (x + unit - 1) / unit * unit;
}

Header header_of(const LinearSpec& spec) {
  Header header;
  header.rows = spec.rows;
  header.cols = spec.cols;
  header.group = spec.group;
  header.format = static_cast<uint8_t>(spec.format);
  header.consumer = static_cast<uint8_t>(spec.consumer);
  header.has_bias = spec.bias.empty() ? 0 : 1;
  return header;
}

// Anonymous memory, aligned to huge pages where it is larger than one, and asked to be in huge pages: with pages of
// 4 KiB a decode step would touch a million of them.
Buffer allocate_packed(size_t bytes) {
  const auto unmap = [](void* data, size_t size) { munmap(data, size); };
  const size_t slack = bytes >= kHugePage ? kHugePage : 0;
  void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return {};
  if (slack == 0) return {mapped, bytes, unmap};
  auto* begin = static_cast<std::byte*>(mapped);
  const size_t head = round_up(reinterpret_cast<uintptr_t>(begin), kHugePage) - reinterpret_cast<uintptr_t>(begin);
  if (head > 0) munmap(begin, head);
  const size_t end = round_up(head + bytes, 4096);
  if (end < bytes + slack) munmap(begin + end, bytes + slack - end);
  madvise(begin + head, bytes, MADV_HUGEPAGE);
  return {begin + head, bytes, unmap};
}

Status check_spec(const LinearSpec& spec) {
  constexpr int64_t kMaxDim = int64_t{1} << 31;
  CHECK(spec.rows > 0 && spec.cols > 0 && spec.rows < kMaxDim && spec.cols < kMaxDim, spec.name, spec.rows, spec.cols);
  CHECK(spec.group == 32 || spec.group == 128, spec.name, spec.group);
  CHECK(spec.bias.empty() || static_cast<int64_t>(spec.bias.size()) == spec.rows, spec.name, spec.bias.size());
  CHECK(spec.consumer != LinearConsumer::kGateUp || spec.rows % 2 == 0, spec.name, spec.rows);
  return {};
}

}  // namespace

int64_t Packed::num_panels() const {
  return (num_outputs() + panel_outputs() - 1) / panel_outputs();
}

size_t Packed::column_offset(int64_t col) const {
  switch (format) {
    case WeightFormat::kF32:
      return col * 4 * kPanelRows;
    case WeightFormat::kBF16:
      return (col + 1) / 2 * 4 * kPanelRows;
    case WeightFormat::kI8:
      return (col + 3) / 4 * 4 * kPanelRows;
    case WeightFormat::kI4:
      return (col + group - 1) / group * kPanelRows * sizeof(f16) + (col + 7) / 8 * 4 * kPanelRows;
    case WeightFormat::kF8:
      break;
  }
  return 0;
}

int64_t Packed::row_of(int64_t panel, int64_t lane) const {
  const int64_t output = panel * panel_outputs() + lane % panel_outputs();
  if (output >= num_outputs()) return -1;
  return lane < panel_outputs() ? output : num_outputs() + output;
}

size_t Packed::describe(const LinearSpec& spec) {
  rows = spec.rows;
  cols = spec.cols;
  format = spec.format;
  group = spec.group;
  consumer = spec.consumer;
  has_bias_ = !spec.bias.empty();
  panel_bytes_ = column_offset(cols);
  const size_t row_floats = (format == WeightFormat::kI8 ? 1 : 0) + (has_bias_ ? 1 : 0);
  total_bytes_ = sizeof(Header) + num_panels() * (panel_bytes_ + row_floats * kPanelRows * sizeof(float));
  return total_bytes_;
}

void Packed::bind(std::byte* bytes, Buffer owned) {
  bytes_ = {bytes, total_bytes_};
  owned_ = std::move(owned);
  panels_ = bytes + sizeof(Header);
  const auto* floats = reinterpret_cast<const float*>(panels_ + num_panels() * panel_bytes_);
  if (format == WeightFormat::kI8) {
    scales_ = floats;
    floats += num_panels() * kPanelRows;
  }
  if (has_bias_) bias_ = floats;
}

void Packed::unpack(float* dst) const {
  for (int64_t p = 0; p < num_panels(); ++p) {
    for (int64_t lane = 0; lane < kPanelRows; ++lane) {
      const int64_t row = row_of(p, lane);
      if (row < 0) continue;
      for (int64_t k = 0; k < cols; ++k) {
        float& value = dst[row * cols + k];
        const int64_t first = k / group * group;  // of the group
        switch (format) {
          case WeightFormat::kF32:
            value = reinterpret_cast<const float*>(panel(p))[k * kPanelRows + lane];
            break;
          case WeightFormat::kBF16:
            value = to_float(reinterpret_cast<const bf16*>(panel(p))[(k / 2 * kPanelRows + lane) * 2 + k % 2]);
            break;
          case WeightFormat::kI8: {
            const auto q = std::to_integer<int>(panel(p)[(k / 4 * kPanelRows + lane) * 4 + k % 4]) - 128;
            value = static_cast<float>(q) * row_scales(p)[lane];
            break;
          }
          case WeightFormat::kI4: {
            const std::byte* block = panel(p) + column_offset(first);
            const float scale = to_float(reinterpret_cast<const f16*>(block)[lane]);
            const std::byte* words = block + kPanelRows * sizeof(f16);
            const auto byte = std::to_integer<int>(words[((k - first) / 8 * kPanelRows + lane) * 4 + k % 4]);
            value = static_cast<float>((k % 8 < 4 ? byte & 15 : byte >> 4) - 8) * scale;
            break;
          }
          case WeightFormat::kF8:
            break;
        }
      }
    }
  }
}

Result<std::unique_ptr<PackedLinear>> pack_linear(const LinearSpec& spec, const RowReader& read, Context& context) {
  if (spec.format == WeightFormat::kF8) {
    return Error{ErrorCode::kUnsupported, spec.name + ": fp8 weights need the CUDA back end"};
  }
  RETURN_IF_ERROR(check_spec(spec));
  auto packed = std::make_unique<Packed>();
  const size_t bytes = packed->describe(spec);
  const auto no_memory = [&](size_t wanted) {
    return Error{ErrorCode::kResource, spec.name + ": no memory for " + std::to_string(wanted) + " bytes of weights"};
  };
  Buffer buffer = allocate_packed(bytes);
  if (buffer.data() == nullptr) return no_memory(bytes);
  auto* begin = buffer.as<std::byte>();
  packed->bind(begin, std::move(buffer));
  const Header header = header_of(spec);
  std::memcpy(begin, &header, sizeof(header));

  const size_t strip_floats = round_up(kStripRows * spec.cols, 16);
  const std::unique_ptr<float[]> strips(new (std::nothrow) float[strip_floats * context.pool.num_threads()]);
  if (strips == nullptr) return no_memory(strip_floats * context.pool.num_threads() * sizeof(float));
  constexpr int64_t kStripsPerPanel = kPanelRows / kStripRows;
  const int64_t count = packed->num_panels() * kStripsPerPanel;
  std::atomic<int64_t> next{0};
  context.pool.run([&](int thread_idx) {
    float* strip = strips.get() + strip_floats * thread_idx;
    for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) {
      const int64_t panel = i / kStripsPerPanel;
      const int64_t lane = i % kStripsPerPanel * kStripRows;
      const int64_t first = packed->row_of(panel, lane);
      int64_t rows = 0;  // a strip's rows follow each other in W: it lies in one half of a kGateUp panel
      while (first >= 0 && rows < kStripRows && packed->row_of(panel, lane + rows) >= 0) ++rows;
      if (rows > 0) read(first, rows, strip);
      float scales[kStripRows] = {};
      pack_strip(strip, rows, spec.cols, spec.format, spec.group, lane, const_cast<std::byte*>(packed->panel(panel)),
                 scales);
      if (spec.format == WeightFormat::kI8) {
        std::memcpy(const_cast<float*>(packed->row_scales(panel)) + lane, scales, sizeof(scales));
      }
      if (packed->bias(panel) != nullptr) {
        auto* bias = const_cast<float*>(packed->bias(panel)) + lane;
        for (int64_t r = 0; r < kStripRows; ++r) bias[r] = r < rows ? spec.bias[first + r] : 0.0f;
      }
    }
  });
  return std::unique_ptr<PackedLinear>(std::move(packed));
}

Result<std::unique_ptr<PackedLinear>> adopt_linear(const LinearSpec& spec, std::span<const std::byte> bytes) {
  RETURN_IF_ERROR(check_spec(spec));
  auto packed = std::make_unique<Packed>();
  const size_t wanted = packed->describe(spec);
  const auto invalid = [&](const std::string& reason) {
    return Error{ErrorCode::kInvalidData, spec.name + ": packed weights: " + reason};
  };
  if (bytes.size() != wanted) {
    return invalid(std::to_string(bytes.size()) + " bytes, expected " + std::to_string(wanted));
  }
  if (reinterpret_cast<uintptr_t>(bytes.data()) % 64 != 0) return invalid("not aligned to 64 bytes");
  const Header header = header_of(spec);
  if (std::memcmp(bytes.data(), &header, sizeof(header)) != 0) return invalid("the header is of another layer");
  packed->bind(const_cast<std::byte*>(bytes.data()), {});
  return std::unique_ptr<PackedLinear>(std::move(packed));
}

const char* linear_layout() {
  return "panel64-1";
}

}  // namespace glimpse::cpu
