#include <algorithm>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_output.h"
#include "kernels/cpu/ops.h"

namespace glimpse::cpu {

namespace {

constexpr float kLog2E = 1.44269504f;

// Keys and values are packed for as many heads at a time as fit in this (half of a desktop's last-level cache).
constexpr size_t kPackedBytes = size_t{16} << 20;

// Blocks of segment s start at cu[s] / kKvBlock + s: room for the last, partly filled block of each segment.
int64_t first_block(const AttentionVarlenArgs& args, int64_t s) {
  return args.cu_seqlens[s] / kKvBlock + s;
}

struct Plan {
  KvLayout layout;
  int64_t head_words;  // of all blocks
  int32_t pass_heads;
  size_t packed_bytes;  // of a pass
  size_t most_bytes;    // at least packed_bytes, and no less for a larger capacity
};

Plan plan(const AttentionVarlenArgs& args) {
  Plan plan{.layout = KvLayout::of(args.qkv.dtype, args.head_dim),
            .head_words = 0,
            .pass_heads = 0,
            .packed_bytes = 0,
            .most_bytes = 0};
  const int64_t blocks = args.tokens.capacity / kKvBlock + args.segments.capacity + 1;
  plan.head_words = blocks * plan.layout.words();
  const size_t head_bytes = static_cast<size_t>(plan.head_words) * sizeof(uint32_t);
  plan.pass_heads = static_cast<int32_t>(std::clamp<size_t>(kPackedBytes / head_bytes, 1, args.num_heads));
  plan.packed_bytes = head_bytes * static_cast<size_t>(plan.pass_heads);
  plan.most_bytes = std::min(head_bytes * static_cast<size_t>(args.num_heads), std::max(kPackedBytes, head_bytes));
  return plan;
}

const std::byte* element(const Matrix& m, int64_t r, int64_t c) {
  return static_cast<const std::byte*>(m.data) + (r * m.stride + c) * static_cast<int64_t>(dtype_bytes(m.dtype));
}

// Finds the segment of an item among `per_segment(s)` items of each; items are asked for in rising order.
class SegmentCursor {
 public:
  explicit SegmentCursor(int64_t first_item = 0) : first_(first_item) {}
  template <typename PerSegment>
  int64_t seek(int64_t item, const PerSegment& per_segment) {
    for (int64_t count; item >= first_ + (count = per_segment(segment_)); ++segment_) first_ += count;
    return segment_;
  }
  int64_t first() const { return first_; }

 private:
  int64_t segment_ = 0;
  int64_t first_;
};

}  // namespace

void attention_varlen(const AttentionVarlenArgs& args, Context& context) {
  const Plan p = plan(args);
  const AttentionKernels& kernels = attention_kernels(context.isa, args.qkv.dtype, args.head_dim);
  auto* packed = context.scratch<uint32_t>(attention_varlen_workspace(args));
  const AttentionOutput output(args.out, args.head_dim, reinterpret_cast<std::byte*>(packed) + p.packed_bytes);
  const int64_t segments = *args.segments.count;
  const int64_t width = int64_t{args.num_heads} * args.head_dim;
  const auto length = [&](int64_t s) { return args.cu_seqlens[s + 1] - args.cu_seqlens[s]; };
  const auto blocks_of = [&](int64_t s) { return (length(s) + kKvBlock - 1) / kKvBlock; };
  const auto tiles_of = [&](int64_t s) { return (length(s) + kernels.query_rows - 1) / kernels.query_rows; };
  int64_t blocks = 0, tiles = 0;
  double work = 0;
  for (int64_t s = 0; s < segments; ++s) {
    blocks += blocks_of(s);
    tiles += tiles_of(s);
    work += static_cast<double>(length(s)) * length(s) * args.head_dim;
  }
  if (tiles == 0) return;
  const bool small = work * args.num_heads < 1e6;

  for (int32_t first_head = args.first_head; first_head < args.end_head(); first_head += p.pass_heads) {
    const int32_t heads = std::min(p.pass_heads, args.end_head() - first_head);
    const auto pack = [&](int64_t begin, int64_t end) {
      for (int64_t item = begin; item < end;) {
        const int64_t h = item / blocks;
        SegmentCursor cursor(h * blocks);
        for (; item < end && item / blocks == h; ++item) {
          const int64_t s = cursor.seek(item, blocks_of);
          const int64_t block = item - cursor.first();
          const int64_t token = block * kKvBlock;
          const int64_t column = (first_head + h) * args.head_dim;
          uint32_t* words = packed + h * p.head_words + (first_block(args, s) + block) * p.layout.words();
          kernels.pack_block(element(args.qkv, args.cu_seqlens[s] + token, width + column),
                             element(args.qkv, args.cu_seqlens[s] + token, 2 * width + column), args.qkv.stride,
                             static_cast<int32_t>(std::min<int64_t>(kKvBlock, length(s) - token)), args.head_dim, words,
                             words + p.layout.key_words);
        }
      }
    };
    const auto attend = [&](int64_t begin, int64_t end) {
      const AttentionScope scope(kernels);
      AttentionState state;
      state.head_dim = args.head_dim;
      state.layout = p.layout;
      state.scale = args.scale * kLog2E;
      alignas(64) float out[kMaxHeadDim];
      for (int64_t item = begin; item < end; ++item) {
        const int64_t h = item / tiles;
        SegmentCursor cursor(h * tiles);
        const int64_t s = cursor.seek(item, tiles_of);
        const int64_t tile_first = (item - cursor.first()) * kernels.query_rows;
        const int64_t first = std::max<int64_t>(tile_first, args.first_query - args.cu_seqlens[s]);
        const int64_t end_row =
            std::min<int64_t>({tile_first + kernels.query_rows, length(s), args.end_query() - args.cu_seqlens[s]});
        if (end_row <= first) continue;  // not in this slice
        const int32_t head = first_head + static_cast<int32_t>(h);
        state.rows = static_cast<int32_t>(end_row - first);
        state.clear();
        for (int32_t r = 0; r < state.rows; ++r) {
          kernels.load_query(element(args.qkv, args.cu_seqlens[s] + first + r, int64_t{head} * args.head_dim),
                             args.qkv.dtype, args.head_dim, state.q + int64_t{r} * kernels.query_stride);
        }
        const uint32_t* words = packed + h * p.head_words + first_block(args, s) * p.layout.words();
        AttentionTile tile;
        for (int64_t token = 0; token < length(s); token += kTileTokens) {
          tile.tokens = static_cast<int32_t>(std::min<int64_t>(kTileTokens, length(s) - token));
          for (int b = 0; b < kTileBlocks; ++b, words += p.layout.words()) {
            tile.keys[b] = words;
            tile.values[b] = words + p.layout.key_words;
            const bool has_next = token + kTileTokens + b * kKvBlock < length(s);
            tile.next[b] = has_next ? words + kTileBlocks * p.layout.words() : nullptr;
          }
          kernels.add_tile(state, tile);
        }
        for (int32_t r = 0; r < state.rows; ++r) {
          state.finish(r, out);
          output.store(out, args.cu_seqlens[s] + first + r, head, context.isa);
        }
      }
    };
    context.pool.for_each(heads * blocks, small ? heads * blocks : 16, pack);
    context.pool.for_each(heads * tiles, small ? heads * tiles : 1, attend);
  }
  output.complete(args.first_query, std::min(args.cu_seqlens[segments], args.end_query()), context);
}

size_t attention_varlen_workspace(const AttentionVarlenArgs& args) {
  return plan(args).most_bytes + AttentionOutput::workspace(args.out, args.tokens.capacity, args.head_dim);
}

}  // namespace glimpse::cpu
