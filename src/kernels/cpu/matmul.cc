#include "kernels/cpu/matmul.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/matmul_product.h"

namespace glimpse::cpu {

namespace {

// A product is cut into units: some panels of W by a block of rows of x, each thread taking its own share first. In a
// unit, columns go in blocks: a block of a panel (at most kBlockBytes) stays in the L2 cache while all tiles of rows
// pass it.
constexpr int64_t kRowBlock = 144;  // rows of x in a unit, a multiple of kTileRows
constexpr int64_t kMinRowBlock = 48;
constexpr int64_t kBlockBytes = 256 << 10;

// What a thread works in. On its stack: 144 KiB, whatever the shapes are.
constexpr int64_t kMaxUnitPanels = kUnitOutputs / (kPanelRows / 2);
struct Scratch {
  alignas(64) float sums[kMaxUnitPanels * kRowBlock * kPanelRows];
};

int64_t columns_per_word(WeightFormat format) {
  switch (format) {
    case WeightFormat::kF32:
      return 1;
    case WeightFormat::kBF16:
      return 2;
    case WeightFormat::kI8:
      return 4;
    case WeightFormat::kI4:
      return 8;
    case WeightFormat::kF8:
      break;
  }
  return 1;
}

const TileFunction* tiles_of(const Product& p) {
  switch (p.weight.format) {
    case WeightFormat::kF32:
      return p.kernels.tile_f32;
    case WeightFormat::kBF16:
      return p.kernels.tile_bf16;
    case WeightFormat::kI8:
      return p.kernels.tile_i8;
    case WeightFormat::kI4:
      return p.kernels.tile_i4;
    case WeightFormat::kF8:
      break;
  }
  return nullptr;
}

// The kernel that takes stream_panels() panels at once, if units do: a single tile of rows, and enough panels for all
// threads to have their share.
TileFunction streams_of(const Product& p) {
  constexpr int64_t kMinPanels = 64;
  if (p.rows > kTileRows || p.weight.num_panels() < kMinPanels) return nullptr;
  switch (p.weight.format) {
    case WeightFormat::kBF16:
      return p.kernels.streams_bf16[p.rows - 1];
    case WeightFormat::kI8:
      return p.kernels.streams_i8[p.rows - 1];
    case WeightFormat::kI4:
      return p.kernels.streams_i4[p.rows - 1];
    default:
      return nullptr;
  }
}

// Panels that a unit passes at once.
int64_t panels_at_once(const Product& p) {
  return streams_of(p) != nullptr ? stream_panels(p.rows) : 1;
}

// Columns of a block: the same for every number of rows, so that sums are added in the same order.
int64_t block_cols(const Product& p) {
  switch (p.weight.format) {
    case WeightFormat::kF32:
      return kBlockBytes / 4 / kPanelRows;
    case WeightFormat::kBF16:
      return kBlockBytes / 2 / kPanelRows;
    case WeightFormat::kI8:
      return kBlockBytes / kPanelRows;
    case WeightFormat::kI4:
      return 2 * kBlockBytes / kPanelRows;
    case WeightFormat::kF8:
      break;
  }
  return 0;
}

// One tile over the columns [first, first + cols) of x, that end in the middle of a word: x is copied and padded with
// zeros. At most a group of columns.
void ragged_tile(TileFunction tile, TileArgs args, int64_t rows, size_t element_bytes, int64_t word) {
  alignas(64) std::byte padded[kTileRows][512];
  std::memset(padded, 0, sizeof(padded));
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(padded[r], args.a + r * args.a_stride, static_cast<size_t>(args.cols) * element_bytes);
  }
  args.a = padded[0];
  args.a_stride = sizeof(padded[0]);
  args.cols = (args.cols + word - 1) / word * word;
  tile(args);
}

// sums[i][r] = x[first_row + r] times panel `panel` + i: one panel, or, where the product streams, stream_panels().
void multiply_panels(const Product& p, int64_t panel, int64_t panels, int64_t first_row, int64_t rows, float* sums) {
  const Packed& w = p.weight;
  const bool quantized = p.x.values.dtype == DType::kI8;
  const size_t element_bytes = dtype_bytes(p.x.values.dtype);
  const int64_t word = columns_per_word(w.format);
  const int64_t align = quantized ? w.group : word;  // where a tile may start
  const int64_t num_groups = quantized ? (w.cols + w.group - 1) / w.group : 0;
  const TileFunction* tiles = tiles_of(p);
  const TileFunction streams = panels == stream_panels(rows) ? streams_of(p) : nullptr;
  const int64_t num_tiles = (rows + kTileRows - 1) / kTileRows;
  const int64_t step = block_cols(p);
  for (int64_t k = 0; k < w.cols; k += step) {
    const int64_t cols = std::min(step, w.cols - k);
    const int64_t whole = cols % word == 0 ? cols : cols / align * align;
    const std::byte* b = w.panel(panel) + w.column_offset(k);
    const int64_t stride = panels == 1 ? 0 : w.panel(panel + 1) - w.panel(panel);
    const size_t rest_offset = w.column_offset(k + whole) - w.column_offset(k);
    int64_t r = 0;
    for (int64_t t = 0; t < num_tiles; ++t) {
      const int64_t end = rows * (t + 1) / num_tiles;  // tiles as equal as possible
      const TileFunction tile = streams != nullptr ? streams : tiles[end - r - 1];
      const int64_t row = first_row + r;
      TileArgs args;
      args.a_stride = p.x.values.stride * static_cast<int64_t>(element_bytes);
      args.a = static_cast<const std::byte*>(p.x.values.data) + row * args.a_stride + k * element_bytes;
      args.b = b;
      args.b_stride = stride;
      args.cols = whole;
      args.c = sums + r * kPanelRows;
      args.accumulate = k > 0;
      if (quantized) {
        args.a_scales = p.x.scales + row * num_groups + k / w.group;
        args.a_sums = p.x.sums + row * num_groups + k / w.group;
        args.a_groups = num_groups;
        args.group = w.group;
      }
      if (whole > 0) tile(args);
      if (whole < cols) {
        args.a += whole * element_bytes;
        args.b += rest_offset;
        args.cols = cols - whole;
        args.accumulate = k > 0 || whole > 0;
        if (quantized) {
          args.a_scales += whole / w.group;
          args.a_sums += whole / w.group;
        }
        ragged_tile(tile, args, end - r, element_bytes, word);
      }
      r = end;
    }
  }
}

// Panels [first, last) for rows [first_row, first_row + rows), to y.
void compute_unit(const Product& p, int64_t first, int64_t last, int64_t first_row, int64_t rows, Scratch& scratch) {
  const int64_t several = panels_at_once(p);
  for (int64_t panel = first; panel < last;) {
    const int64_t step = last - panel >= several ? several : 1;
    multiply_panels(p, panel, step, first_row, rows, scratch.sums + (panel - first) * rows * kPanelRows);
    panel += step;
  }
  finish_panels(p, first, last, first_row, rows, scratch.sums, rows * kPanelRows);
}

void check_product(const Product& p) {
  const Packed& w = p.weight;
  const DType dtype = p.x.values.dtype;
  CHECK(dtype == w.input_dtype(), static_cast<int>(dtype), static_cast<int>(w.format));
  CHECK(p.x.values.cols == w.cols && p.x.values.rows >= p.rows, p.x.values.cols, w.cols, p.rows);
  CHECK(p.y.values.cols == w.num_outputs() && p.y.values.rows >= p.rows, p.y.values.cols, w.num_outputs(), p.rows);
  CHECK((p.finish == Finish::kSiluMul) == (w.consumer == LinearConsumer::kGateUp));
  if (dtype == DType::kI8) CHECK(p.x.group == w.group && p.x.scales != nullptr && p.x.sums != nullptr, p.x.group);
  if (p.y.values.dtype == DType::kI8) {
    CHECK(p.y.group == 32 || p.y.group == 128, p.y.group);
    CHECK(p.y.scales != nullptr);
  }
}

void multiply(const Product& p, Context& context, std::byte* workspace) {
  if (p.rows <= 0) return;
  check_product(p);
  if (uses_blocks(p, context.isa)) return multiply_blocks(p, context, workspace);
  const int64_t panels = p.weight.num_panels();
  const int64_t width = std::max(unit_panels(p), panels_at_once(p));
  const int64_t num_columns = (panels + width - 1) / width;
  int64_t num_blocks = (p.rows + kRowBlock - 1) / kRowBlock;
  // Whole tiles, and at least a few units for each thread.
  const int64_t wanted = (4 * context.pool.num_threads() + num_columns - 1) / num_columns;
  num_blocks = std::max(num_blocks, std::min(wanted, (p.rows + kMinRowBlock - 1) / kMinRowBlock));
  const int64_t block_rows = ((p.rows + num_blocks - 1) / num_blocks + kTileRows - 1) / kTileRows * kTileRows;
  num_blocks = (p.rows + block_rows - 1) / block_rows;
  const int64_t num_units = num_columns * num_blocks;
  Shares shares(num_units, 1, context.pool.num_threads());
  const auto body = [&](int thread_idx) {
    Scratch scratch;
    shares.take(thread_idx, [&](int64_t i, int64_t) {
      const int64_t panel = i % num_columns * width;
      const int64_t block = i / num_columns;
      const int64_t first_row = block * block_rows;
      const int64_t rows = std::min(block_rows, p.rows - first_row);
      compute_unit(p, panel, std::min(panel + width, panels), first_row, rows, scratch);
    });
  };
  if (num_units == 1 || is_small(p)) {
    body(0);
  } else {
    context.pool.run(body);
  }
}

const Packed& packed(const PackedLinear& weight) {
  return static_cast<const Packed&>(weight);
}

}  // namespace

bool is_small(const Product& p) {
  constexpr size_t kSmallBytes = 128 << 10;
  constexpr double kSmallMacs = 1 << 20;
  const double macs =
      static_cast<double>(p.rows) * static_cast<double>(p.weight.rows) * static_cast<double>(p.weight.cols);
  return p.weight.bytes().size() < kSmallBytes && macs < kSmallMacs;
}

void finish_panels(const Product& p, int64_t first, int64_t last, int64_t first_row, int64_t rows, const float* sums,
                   int64_t panel_stride) {
  const Packed& w = p.weight;
  const Matrix& y = p.y.values;
  const int64_t width = w.panel_outputs();
  FinishArgs args{.finish = p.finish};
  const auto finish = [&](int64_t panel) {
    args.scale = w.row_scales(panel);
    args.bias = w.bias(panel);
    p.kernels.finish(args);
  };
  if (y.dtype != DType::kI8) {
    const auto bytes = static_cast<int64_t>(dtype_bytes(y.dtype));
    args.rows = rows;
    args.dst_stride = y.stride * bytes;
    args.bf16 = y.dtype == DType::kBF16;
    for (int64_t panel = first; panel < last; ++panel) {
      const int64_t col = panel * width;
      args.sums = sums + (panel - first) * panel_stride;
      args.dst = static_cast<std::byte*>(y.data) + first_row * args.dst_stride + col * bytes;
      args.count = std::min(width, w.num_outputs() - col);
      finish(panel);
    }
    return;
  }
  const int64_t unit = unit_panels(p);
  alignas(64) float outputs[kUnitOutputs];
  args.rows = 1;
  args.count = width;
  for (int64_t begin = first; begin < last; begin += unit) {
    const int64_t end = std::min(begin + unit, last);
    const int64_t col = begin * width;
    const int64_t count = std::min((end - begin) * width, w.num_outputs() - col);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t panel = begin; panel < end; ++panel) {
        args.sums = sums + (panel - first) * panel_stride + r * kPanelRows;
        args.dst = reinterpret_cast<std::byte*>(outputs + (panel - begin) * width);
        finish(panel);
      }
      const int64_t row = first_row + r;
      const int64_t at = row * p.y.num_groups() + col / p.y.group;
      p.kernels.quantize_row(outputs, count, p.y.group, y.row<int8_t>(row) + col, p.y.scales + at,
                             p.y.sums == nullptr ? nullptr : p.y.sums + at);
    }
  }
}

void linear(const LinearArgs& args, Context& context) {
  const Finish finish = args.epilogue == Epilogue::kGelu ? Finish::kGelu : Finish::kNone;
  multiply({packed(*args.weight), args.x, *args.rows.count, finish, args.y, matmul_kernels(context.isa)}, context,
           context.scratch<std::byte>(linear_workspace(args)));
}

void gate_up_silu(const GateUpSiluArgs& args, Context& context) {
  multiply({packed(*args.weight), args.x, *args.rows.count, Finish::kSiluMul, args.y, matmul_kernels(context.isa)},
           context, context.scratch<std::byte>(gate_up_silu_workspace(args)));
}

void project(const PackedLinear& weight, const Activation& x, int64_t rows, const Matrix& y, Context& context,
             std::byte* scratch) {
  const Activation out{.values = y};
  multiply({packed(weight), x, rows, Finish::kNone, out, matmul_kernels(context.isa)}, context, scratch);
}

// What the widest instruction set needs, whichever is used.
size_t linear_workspace(const LinearArgs& args) {
  return project_workspace(*args.weight, args.rows.capacity);
}
size_t gate_up_silu_workspace(const GateUpSiluArgs& args) {
  return project_workspace(*args.weight, args.rows.capacity);
}
size_t project_workspace(const PackedLinear& weight, int64_t rows) {
  return block_workspace(packed(weight), rows);
}

void quantize_row(const float* x, int64_t cols, int32_t group, int8_t* values, float* scales, int32_t* sums,
                  CpuIsa isa) {
  matmul_kernels(isa).quantize_row(x, cols, group, values, scales, sums);
}

void store_row(const float* x, const Activation& y, int64_t r, CpuIsa isa) {
  const int64_t cols = y.values.cols;
  switch (y.values.dtype) {
    case DType::kF32:
      std::memcpy(y.values.row<float>(r), x, cols * sizeof(float));
      return;
    case DType::kBF16:
      return matmul_kernels(isa).store_bf16(x, cols, y.values.row<bf16>(r));
    case DType::kI8: {
      const int64_t at = r * y.num_groups();
      int32_t* sums = y.sums == nullptr ? nullptr : y.sums + at;
      return quantize_row(x, cols, y.group, y.values.row<int8_t>(r), y.scales + at, sums, isa);
    }
    default:
      CHECK(false, static_cast<int>(y.values.dtype));
  }
}

}  // namespace glimpse::cpu
