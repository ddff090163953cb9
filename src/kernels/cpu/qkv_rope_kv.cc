#include <algorithm>

#include "kernels/cpu/kv_cache.h"
#include "kernels/cpu/matmul.h"
#include "kernels/cpu/ops.h"
#include "kernels/cpu/row_kernels.h"
#include "kernels/cpu/rows.h"
#include "kernels/cpu/store.h"

namespace glimpse::cpu {

namespace {

// Rows projected at a time: enough for the product to run at its full rate, few enough to stay in the last-level cache.
constexpr int64_t kChunk = 512;

size_t projected_bytes(int64_t rows, int64_t cols) {
  return (static_cast<size_t>(rows * cols) * sizeof(float) + 63) / 64 * 64;
}

// Rope, then the cache or the output, for one projected row of token t.
void finish_row(const QkvRopeKvArgs& args, float* row, int64_t t, CpuIsa isa) {
  const RowKernels& kernels = row_kernels(isa);
  const int64_t hd = args.head_dim;
  const int64_t k_at = args.num_heads * hd;
  const int64_t v_at = k_at + args.num_kv_heads * hd;
  const auto rotate = args.layout == RopeLayout::kInterleaved ? kernels.rotate_interleaved : kernels.rotate_half_split;
  const float* cos = args.cos + t * args.num_pairs;
  const float* sin = args.sin + t * args.num_pairs;
  for (int64_t c = 0; c < v_at; c += hd) rotate(row + c, cos, sin, args.num_pairs);
  if (args.qkv) {
    store_columns(row, args.weight->rows, {.values = args.qkv}, t, 0, isa);
    return;
  }
  store_columns(row, k_at, {.values = args.q}, t, 0, isa);
  const int32_t slot = args.slot_mapping[t];
  if (slot < 0) return;
  const auto& kv = static_cast<const CpuKv&>(*args.kv);
  for (int32_t h = 0; h < args.num_kv_heads; ++h) {
    kv_write(kv, args.layer, slot, h, row + k_at + h * hd, row + v_at + h * hd, isa);
  }
}

}  // namespace

void qkv_rope_kv(const QkvRopeKvArgs& args, Context& context) {
  const int64_t rows = *args.tokens.count;
  const int64_t cols = args.weight->rows;
  const int64_t chunk = std::min<int64_t>(kChunk, args.tokens.capacity);
  auto* projected = context.scratch<float>(qkv_rope_kv_workspace(args));
  std::byte* scratch = reinterpret_cast<std::byte*>(projected) + projected_bytes(chunk, cols);
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    const Matrix y = {.data = projected, .dtype = DType::kF32, .rows = count, .cols = cols, .stride = cols};
    project(*args.weight, rows_from(args.x, first), count, y, context, scratch);
    for_rows(context, count, cols, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) finish_row(args, y.row<float>(r), first + r, context.isa);
    });
  }
}

size_t qkv_rope_kv_workspace(const QkvRopeKvArgs& args) {
  const int64_t chunk = std::min<int64_t>(kChunk, args.tokens.capacity);
  return projected_bytes(chunk, args.weight->rows) + project_workspace(*args.weight, chunk);
}

}  // namespace glimpse::cpu
