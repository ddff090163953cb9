#include "kernels/cpu/matmul_blocks.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "kernels/cpu/context.h"
#include "kernels/cpu/matmul_product.h"
#include "kernels/cpu/rows.h"

namespace glimpse::cpu {

namespace {

// Rows are packed into tiles some hundred at a time, for all threads. A unit is then a block of these rows by some
// panels: a block of columns of its rows stays in the L2 cache while the panels pass, a block of a panel's columns
// while the rows do, and so do the unit's sums.
constexpr int64_t kPackedRows = 512;
constexpr int64_t kMinRowBlock = 64;
constexpr int64_t kUnitPanels = 8;
constexpr int64_t kBlockSteps = 32;
constexpr int64_t kBlockGroups = 8;  // of 128 columns: as many
// Integer products of up to so many rows are faster in vector registers, which need no unpacked weights. Both give the
// same sums, to the bit.
constexpr int64_t kVectorRows = 6;
// How far ahead of the products a lone tile fetches weights: what memory delivers in its latency.
constexpr int64_t kAheadBytes = 2 * kStepPanelBytes;

int64_t round_up(int64_t x, int64_t unit) {
  return (x + unit - 1) / unit * unit;
}

// Rows of x as the kernels want them.
struct Tiles {
  const std::byte* data = nullptr;
  int64_t row = 0, step = 0, tile = 0;
  int64_t rows = 0;
};

struct Scratch {
  alignas(64) float sums[kUnitPanels * kRowBlock * kPanelRows];
  alignas(64) std::byte weights[kBlockGroups * kGroupPanelBytes];  // as signed bytes; bfloat16: a panel's last words
  alignas(64) float weight_scales[kBlockGroups * kPanelRows];
  alignas(64) float x_scales[kBlockGroups * kRowBlock];
};

// What a thread does at a time: panels [first, last) by rows [row, row + rows) of the packed ones.
struct Unit {
  int64_t first, last;
  int64_t row, rows;
  int64_t tiles() const { return (rows + kBlockTileRows - 1) / kBlockTileRows; }
  int64_t panel_stride() const { return tiles() * kBlockTileRows * kPanelRows; }
};

void multiply_bf16(const Packed& w, const BlockKernels& blocks, const Tiles& x, const Unit& unit, Scratch& scratch) {
  const int64_t words = (w.cols + 1) / 2;
  const int64_t whole_steps = words / kBlockTileRows;
  const int64_t rest_words = words % kBlockTileRows;
  BlockArgs args;
  args.a_row = x.row;
  args.a_step = x.step;
  args.a_tile = x.tile;
  args.tiles = unit.tiles();
  const std::byte* a = x.data + unit.row / kBlockTileRows * x.tile;
  const int64_t block_steps = args.tiles == 1 ? std::max<int64_t>(whole_steps, 1) : kBlockSteps;
  for (int64_t s = 0; s < whole_steps; s += block_steps) {
    args.steps = std::min(block_steps, whole_steps - s);
    args.a = a + s * x.step;
    args.accumulate = s > 0;
    for (int64_t panel = unit.first; panel < unit.last; ++panel) {
      args.b = w.panel(panel) + s * kStepPanelBytes;
      args.c = scratch.sums + (panel - unit.first) * unit.panel_stride();
      if (args.tiles == 1) {
        args.next = args.b + kAheadBytes;
      } else if (panel + 1 < unit.last) {
        args.next = w.panel(panel + 1) + s * kStepPanelBytes;
      } else {
        args.next = s + block_steps < whole_steps ? w.panel(unit.first) + (s + block_steps) * kStepPanelBytes : nullptr;
      }
      blocks.multiply_bf16(args);
    }
  }
  if (rest_words > 0) {  // behind the panel's last word is another's: zeros instead
    std::memset(scratch.weights, 0, kStepPanelBytes);
    args.steps = 1;
    args.a = a + whole_steps * x.step;
    args.b = scratch.weights;
    args.accumulate = whole_steps > 0;
    args.next = nullptr;
    for (int64_t panel = unit.first; panel < unit.last; ++panel) {
      std::memcpy(scratch.weights, w.panel(panel) + whole_steps * kStepPanelBytes,
                  static_cast<size_t>(rest_words * kPanelRows * 4));
      args.c = scratch.sums + (panel - unit.first) * unit.panel_stride();
      blocks.multiply_bf16(args);
    }
  }
}

// x_row: the unit's first row in x.
void multiply_int(const Product& p, const BlockKernels& blocks, const Tiles& x, const Unit& unit, int64_t x_row,
                  Scratch& scratch) {
  const Packed& w = p.weight;
  const bool i4 = w.format == WeightFormat::kI4;
  const int64_t num_groups = p.x.num_groups();
  std::memset(scratch.sums, 0, sizeof(float) * static_cast<size_t>((unit.last - unit.first) * unit.panel_stride()));
  IntBlockArgs args;
  args.a_tile = x.tile;
  args.tiles = unit.tiles();
  args.a_scales = scratch.x_scales;
  args.b = scratch.weights;
  args.b_scales = i4 ? scratch.weight_scales : nullptr;
  for (int64_t g = 0; g < num_groups; g += kBlockGroups) {
    args.groups = std::min(kBlockGroups, num_groups - g);
    args.a = x.data + unit.row / kBlockTileRows * x.tile + 2 * g * x.step;
    for (int64_t i = 0; i < args.groups; ++i) {
      float* to = scratch.x_scales + i * kRowBlock;
      for (int64_t r = 0; r < unit.rows; ++r) to[r] = p.x.scales[(x_row + r) * num_groups + g + i];
      std::fill(to + unit.rows, to + args.tiles * kBlockTileRows, 0.0f);
    }
    const int64_t col = g * kGroupColumns;
    const int64_t end = std::min(w.cols, col + args.groups * kGroupColumns);
    const auto at = [&](int64_t panel, int64_t column) { return w.panel(panel) + w.column_offset(column); };
    for (int64_t panel = unit.first; panel < unit.last; ++panel) {
      if (i4) {
        blocks.unpack_i4(at(panel, col), end - col, scratch.weights, scratch.weight_scales);
      } else {
        blocks.unpack_i8(at(panel, col), end - col, scratch.weights);
      }
      const bool last = panel + 1 == unit.last;
      args.next = last ? at(unit.first, end) : at(panel + 1, col);
      args.next_lines = last && end == w.cols ? 0 : (at(panel, end) - at(panel, col)) / 64;
      args.c = scratch.sums + (panel - unit.first) * unit.panel_stride();
      blocks.multiply_int(args);
    }
  }
}

int64_t row_bytes(const Packed& weight) {
  return weight.cols * static_cast<int64_t>(dtype_bytes(weight.input_dtype()));
}

// Integers: of whole groups.
int64_t steps_of(const Packed& weight) {
  if (weight.format != WeightFormat::kBF16) return (weight.cols + kGroupColumns - 1) / kGroupColumns * 2;
  return (row_bytes(weight) + kStepRowBytes - 1) / kStepRowBytes;
}

// Bfloat16 rows of x may be read where they lie when they are one tile of whole steps; or a few, if the last one's rows
// are all there and a tile's rows do not meet in a few sets of the first-level cache.
bool in_place(const Product& p) {
  constexpr int64_t kMostRows = 64;
  constexpr int64_t kSetsBytes = 4096;
  if (p.weight.format != WeightFormat::kBF16 || row_bytes(p.weight) % kStepRowBytes != 0) return false;
  if (p.rows <= kBlockTileRows) return true;
  const int64_t stride = p.x.values.stride * static_cast<int64_t>(dtype_bytes(p.x.values.dtype));
  return p.rows <= kMostRows && stride % kStepRowBytes == 0 && stride % (kSetsBytes / 8) != 0 &&
         round_up(p.rows, kBlockTileRows) <= p.x.values.rows;
}

}  // namespace

bool uses_blocks(const Product& p, CpuIsa isa) {
  if (block_kernels(isa) == nullptr) return false;
  if (p.weight.format == WeightFormat::kBF16) return true;
  return p.x.values.dtype == DType::kI8 && p.weight.group == kGroupColumns && p.rows > kVectorRows;
}

size_t block_workspace(const Packed& weight, int64_t rows) {
  if (weight.format == WeightFormat::kF32) return 0;
  return static_cast<size_t>(round_up(std::min(rows, kPackedRows), kBlockTileRows) * steps_of(weight) * kStepRowBytes);
}

void multiply_blocks(const Product& p, Context& context, std::byte* workspace) {
  const BlockKernels& blocks = *block_kernels(context.isa);
  const auto* x = static_cast<const std::byte*>(p.x.values.data);
  const int64_t x_stride = p.x.values.stride * static_cast<int64_t>(dtype_bytes(p.x.values.dtype));
  const int64_t bytes = row_bytes(p.weight);
  const int64_t steps = steps_of(p.weight);
  const int64_t panels = p.weight.num_panels();
  const int64_t threads = context.pool.num_threads();
  const int64_t num_packs = (p.rows + kPackedRows - 1) / kPackedRows;
  const int64_t pack_rows = round_up((p.rows + num_packs - 1) / num_packs, 2 * kBlockTileRows);
  for (int64_t first_row = 0; first_row < p.rows; first_row += pack_rows) {
    Tiles tiles{.data = x, .row = x_stride, .step = kStepRowBytes, .tile = kBlockTileRows * x_stride, .rows = p.rows};
    if (!in_place(p)) {
      tiles = {.data = workspace, .row = kStepRowBytes, .step = kTileBytes, .tile = steps * kTileBytes};
      tiles.rows = std::min(pack_rows, p.rows - first_row);
      const int64_t count = (tiles.rows + kBlockTileRows - 1) / kBlockTileRows;
      for_rows(context, count, kBlockTileRows * steps * 8, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const int64_t row = t * kBlockTileRows;
          blocks.pack_rows(x + (first_row + row) * x_stride, x_stride, std::min(kBlockTileRows, tiles.rows - row),
                           bytes, steps, workspace + t * tiles.tile);
        }
      });
    }
    // Panels in units, then rows, until there are a few units for each thread.
    const int64_t wanted = 4 * threads;
    const int64_t least = unit_panels(p);
    int64_t row_blocks = (tiles.rows + kRowBlock - 1) / kRowBlock;
    int64_t width = tiles.rows <= kBlockTileRows ? least : kUnitPanels;
    while (width > least && (panels + width - 1) / width * row_blocks < wanted) width /= 2;
    const int64_t columns = (panels + width - 1) / width;
    row_blocks = std::max(row_blocks, std::min((wanted + columns - 1) / columns, tiles.rows / kMinRowBlock));
    const int64_t block_rows = round_up((tiles.rows + row_blocks - 1) / row_blocks, 2 * kBlockTileRows);
    row_blocks = (tiles.rows + block_rows - 1) / block_rows;
    const int64_t units = columns * row_blocks;
    Shares shares(units, 1, context.pool.num_threads());
    const auto body = [&](int thread_idx) {
      Scratch scratch;
      blocks.begin(tiles.data == x ? std::min(tiles.rows, kBlockTileRows) : kBlockTileRows);
      shares.take(thread_idx, [&](int64_t i, int64_t) {
        const int64_t panel = i / row_blocks * width;
        const int64_t row = i % row_blocks * block_rows;
        const Unit unit{.first = panel,
                        .last = std::min(panel + width, panels),
                        .row = row,
                        .rows = std::min(block_rows, tiles.rows - row)};
        if (p.weight.format == WeightFormat::kBF16) {
          multiply_bf16(p.weight, blocks, tiles, unit, scratch);
        } else {
          multiply_int(p, blocks, tiles, unit, first_row + row, scratch);
        }
        finish_panels(p, unit.first, unit.last, first_row + row, unit.rows, scratch.sums, unit.panel_stride());
      });
      blocks.end();
    };
    if (units == 1 || is_small(p)) {
      body(0);
    } else {
      context.pool.run(body);
    }
  }
}

}  // namespace glimpse::cpu
