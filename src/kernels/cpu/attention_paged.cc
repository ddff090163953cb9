// The work is cut into items: (sequence, kv head, up to query_rows rows), a row being one (query, head) pair that reads
// this kv head; and each item's tokens into chunks of kChunkTokens. A chunk's result is computed from nothing and
// merged into the item's in order, whether one thread does all chunks or several do: results do not depend on the
// batch, on the number of threads, or on how a prompt was cut into steps.

#include <algorithm>

#include "kernels/cpu/attention_kernels.h"
#include "kernels/cpu/attention_output.h"
#include "kernels/cpu/ops.h"

namespace glimpse::cpu {

namespace {

constexpr float kLog2E = 1.44269504f;
constexpr int64_t kChunkTokens = 1024;  // tokens whose results are merged; a multiple of kTileTokens
constexpr int64_t kMaxParts = 256;      // chunks that may be in flight when items alone do not fill the threads

struct Item {
  int64_t seq = 0;
  int32_t kv_head = 0;
  int64_t first_row = 0;
  int32_t rows = 0;
};

// Items in order: sequences, kv heads, rows. Asked for in rising order by one thread, it resumes where it was.
class Items {
 public:
  Items(const AttentionPagedArgs& args, int query_rows)
      : args_(args),
        kv_heads_(args.kv->spec.num_kv_heads),
        group_(args.num_heads / kv_heads_),
        query_rows_(query_rows) {}

  int64_t queries(int64_t s) const { return args_.cu_seqlens[s + 1] - args_.cu_seqlens[s]; }
  int64_t row_tiles(int64_t s) const { return (queries(s) * group_ + query_rows_ - 1) / query_rows_; }
  int64_t count() const {
    int64_t total = 0;
    for (int64_t s = 0; s < *args_.seqs.count; ++s) total += kv_heads_ * row_tiles(s);
    return total;
  }
  Item seek(int64_t index) {
    if (index < first_) seq_ = first_ = 0;
    for (int64_t n; index >= first_ + (n = kv_heads_ * row_tiles(seq_)); ++seq_) first_ += n;
    const int64_t rows = queries(seq_) * group_;
    const int64_t tiles = row_tiles(seq_);
    const int64_t tile_rows = (rows + tiles - 1) / tiles;  // as even as can be
    const int64_t tile = (index - first_) % tiles;
    return {.seq = seq_,
            .kv_head = static_cast<int32_t>((index - first_) / tiles),
            .first_row = tile * tile_rows,
            .rows = static_cast<int32_t>(std::clamp<int64_t>(rows - tile * tile_rows, 0, tile_rows))};
  }

  int32_t group() const { return group_; }
  // The query token of a row of an item, and how many tokens it sees.
  int64_t query(const Item& item, int32_t r) const { return (item.first_row + r) / group_; }
  int64_t visible(const Item& item, int32_t r) const {
    return std::max<int64_t>(0, args_.context_lens[item.seq] - (queries(item.seq) - 1 - query(item, r)));
  }
  int64_t visible(const Item& item) const { return item.rows == 0 ? 0 : visible(item, item.rows - 1); }

 private:
  const AttentionPagedArgs& args_;
  const int32_t kv_heads_;
  const int32_t group_;
  const int query_rows_;
  int64_t seq_ = 0;
  int64_t first_ = 0;  // item of seq_
};

void start(const AttentionPagedArgs& args, const Items& items, const Item& item, const AttentionKernels& kernels,
           AttentionState& state) {
  const auto& kv = static_cast<const CpuKv&>(*args.kv);
  const int64_t hd = kv.spec.head_dim;
  state.rows = item.rows;
  state.head_dim = kv.spec.head_dim;
  state.layout = kv.layout;
  state.scale = args.scale * kLog2E;
  for (int32_t r = 0; r < item.rows; ++r) {
    const int64_t token = args.cu_seqlens[item.seq] + items.query(item, r);
    const int64_t head = item.kv_head * items.group() + (item.first_row + r) % items.group();
    const auto* row = static_cast<const std::byte*>(args.q.data);
    row += (token * args.q.stride + head * hd) * static_cast<int64_t>(dtype_bytes(args.q.dtype));
    kernels.load_query(row, args.q.dtype, kv.spec.head_dim, state.q + int64_t{r} * kernels.query_stride);
  }
}

// Adds tokens [begin, min(begin + kChunkTokens, visible)) to a state that was cleared. `following`, or null: the item
// whose first blocks are fetched meanwhile.
void add_chunk(const AttentionPagedArgs& args, const Items& items, const Item& item, int64_t begin,
               const Item* following, const AttentionKernels& kernels, AttentionState& state) {
  const auto& kv = static_cast<const CpuKv&>(*args.kv);
  const int32_t* table = args.block_table + item.seq * args.max_blocks;
  const int64_t end = std::min(begin + kChunkTokens, items.visible(item));
  const int64_t all_see = items.visible(item, 0);
  const int32_t* next_table = following == nullptr ? nullptr : args.block_table + following->seq * args.max_blocks;
  const int64_t next_end = following == nullptr ? 0 : items.visible(*following);
  int32_t visible[kMaxQueryRows];
  AttentionTile tile;
  for (int64_t token = begin; token < end; token += kTileTokens) {
    tile.tokens = static_cast<int32_t>(std::min<int64_t>(kTileTokens, end - token));
    for (int b = 0; b < kTileBlocks; ++b) {
      const int64_t at = token + int64_t{b} * kKvBlock;
      const auto block = [&](int64_t t) { return kv.head(args.layer, table[t / kKvBlock], item.kv_head); };
      tile.keys[b] = at < end ? block(at) : nullptr;
      tile.values[b] = at < end ? tile.keys[b] + kv.layout.key_words : nullptr;
      tile.next[b] = at + kTileTokens < end ? block(at + kTileTokens) : nullptr;
      if (token + kTileTokens >= end && int64_t{b} * kKvBlock < next_end) {
        tile.next[b] = kv.head(args.layer, next_table[b], following->kv_head);
      }
    }
    tile.visible = nullptr;
    if (all_see < token + tile.tokens) {
      for (int32_t r = 0; r < item.rows; ++r) {
        visible[r] = static_cast<int32_t>(std::clamp<int64_t>(items.visible(item, r) - token, 0, tile.tokens));
      }
      tile.visible = visible;
    }
    kernels.add_tile(state, tile);
  }
}

void finish(const AttentionPagedArgs& args, const Items& items, const Item& item, const AttentionSums& state,
            const AttentionOutput& output, CpuIsa isa) {
  alignas(64) float out[kMaxHeadDim];
  for (int32_t r = 0; r < item.rows; ++r) {
    state.finish(r, out);
    const auto head = static_cast<int32_t>(item.kv_head * items.group() + (item.first_row + r) % items.group());
    output.store(out, args.cu_seqlens[item.seq] + items.query(item, r), head, isa);
  }
}

// All chunks of an item by one thread.
void attend(const AttentionPagedArgs& args, const Items& items, const Item& item, const Item* following,
            const AttentionKernels& kernels, const AttentionOutput& output, CpuIsa isa) {
  AttentionState total;
  start(args, items, item, kernels, total);
  total.clear();
  const int64_t end = items.visible(item);
  add_chunk(args, items, item, 0, end > kChunkTokens ? nullptr : following, kernels, total);
  if (end > kChunkTokens) {
    AttentionState part;
    start(args, items, item, kernels, part);
    for (int64_t begin = kChunkTokens; begin < end; begin += kChunkTokens) {
      part.clear();
      add_chunk(args, items, item, begin, begin + kChunkTokens < end ? nullptr : following, kernels, part);
      total.merge(part);
    }
  }
  finish(args, items, item, total, output, isa);
}

int64_t chunks_of(int64_t visible) {
  return std::max<int64_t>(1, (visible + kChunkTokens - 1) / kChunkTokens);
}

}  // namespace

void attention_paged(const AttentionPagedArgs& args, Context& context) {
  const auto& kv = static_cast<const CpuKv&>(*args.kv);
  const AttentionKernels& kernels = attention_kernels(context.isa, kv.spec.dtype, kv.spec.head_dim);
  auto* parts = context.scratch<AttentionSums>(attention_paged_workspace(args));
  const AttentionOutput output(args.out, kv.spec.head_dim,
                               reinterpret_cast<std::byte*>(parts) + kMaxParts * sizeof(AttentionSums));
  Items all(args, kernels.query_rows);
  const int64_t count = all.count();
  int64_t num_parts = 0;
  double work = 0;
  const bool few = count < 4 * context.pool.num_threads();
  if (few) {
    for (int64_t i = 0; i < count; ++i) {
      const Item item = all.seek(i);
      num_parts += chunks_of(all.visible(item));
      work += static_cast<double>(all.visible(item)) * item.rows * kv.spec.head_dim;
    }
  }
  const bool small = few && work < 5e5;
  if (!few || small || context.pool.num_threads() == 1 || num_parts == count || num_parts > kMaxParts) {
    Shares shares(count, 1, context.pool.num_threads());
    const auto body = [&](int thread_idx) {
      const AttentionScope scope(kernels);
      Items items(args, kernels.query_rows);
      shares.take(thread_idx, [&](int64_t i, int64_t) {
        const Item item = items.seek(i);
        const Item following = i + 1 < count ? items.seek(i + 1) : Item{};
        attend(args, items, item, i + 1 < count ? &following : nullptr, kernels, output, context.isa);
      });
    };
    if (small || count == 1) {
      body(0);
    } else {
      context.pool.run(body);
    }
  } else {
    const auto for_part = [&](int64_t part, const auto& visit) {
      Items items(args, kernels.query_rows);
      for (int64_t i = 0;; ++i) {
        const Item item = items.seek(i);
        const int64_t chunks = chunks_of(items.visible(item));
        if (part < chunks) return visit(items, item, part * kChunkTokens);
        part -= chunks;
      }
    };
    context.pool.for_each(num_parts, 1, [&](int64_t begin, int64_t end) {
      const AttentionScope scope(kernels);
      AttentionState state;
      for (int64_t part = begin; part < end; ++part) {
        for_part(part, [&](const Items& items, const Item& item, int64_t token) {
          start(args, items, item, kernels, state);
          state.clear();
          add_chunk(args, items, item, token, nullptr, kernels, state);
        });
        parts[part].copy_from(state);
      }
    });
    int64_t part = 0;
    for (int64_t i = 0; i < count; ++i) {
      const Item item = all.seek(i);
      AttentionSums& total = parts[part];
      for (int64_t c = 1; c < chunks_of(all.visible(item)); ++c) total.merge(parts[part + c]);
      part += chunks_of(all.visible(item));
      finish(args, all, item, total, output, context.isa);
    }
  }
  if (*args.seqs.count > 0) output.complete(args.cu_seqlens[0], args.cu_seqlens[*args.seqs.count], context);
}

size_t attention_paged_workspace(const AttentionPagedArgs& args) {
  return kMaxParts * sizeof(AttentionSums) +
         AttentionOutput::workspace(args.out, args.tokens.capacity, args.kv->spec.head_dim);
}

}  // namespace glimpse::cpu
